"""Frames a second that one core renders of the synthetic world.

python benchmarks/bench_synthetic.py --cache FILE
"""

import argparse
import time
from pathlib import Path

import cv2

from segment_concept.synthetic import ClipSpec, load, render_clip


def main() -> None:
    """Render the same clips at three sizes and print the time a frame takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="file written by prepare()")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    assets = load(arguments.cache)
    render_clip(assets, ClipSpec(), 0)  # tables that are made on first use
    for height, width in ((192, 336), (256, 256), (256, 448)):
        spec = ClipSpec(frames=arguments.frames, height=height, width=width)
        start = time.process_time()
        for seed in range(arguments.clips):
            render_clip(assets, spec, seed)
        each = (time.process_time() - start) / (arguments.clips * arguments.frames)
        print(f"{height} x {width}: {1000 * each:5.1f} ms/frame, {1 / each:5.0f} frames/s (CPU)")


if __name__ == "__main__":
    main()
