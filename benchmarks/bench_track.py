"""Frames a second of the whole main job (decode, track, write overlay and PNGs), and its memory.

    python benchmarks/bench_track.py VIDEO [--prompts FILE] [--recipe NAME] [--objects 1,3]

Runs the numbers of objects side by side, `--repeat` times in turn, and quotes their ratio. Objects
are the first ones of a prompts file, as `track --prompts` takes it; without one, boxes spread over
the first frame. Boxes that hold no thing are soon doubted, and every doubt asks the concept.
Threads wait as those of the command line do.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # is read when torch is imported

import torch

from segment_concept import Box, ObjectId
from segment_concept.checkpoints.load import load
from segment_concept.pipeline.prompts import TimedPrompt, read_prompts
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.video.open import open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--recipe", default="sec_compact")
    parser.add_argument("--objects", default="1,3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tracker = load(options.recipe, device="cpu")
    counts = [int(n) for n in options.objects.split(",")]
    seconds: dict[int, list[float]] = {n: [] for n in counts}
    frames = 0
    for _ in range(options.repeat):
        for count in counts:
            frames, took = once(tracker, options.video, count, options.prompts)
            seconds[count].append(took)
    first = statistics.median(seconds[counts[0]])
    for count in counts:
        took = statistics.median(seconds[count])
        print(
            f"{count} objects: {frames / took:5.1f} frames/s "
            f"({took / frames * 1000:.0f} ms a frame, {took / first:.2f} x {counts[0]} object)"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:.0f} MB, {options.threads} threads")


def once(tracker, video: str, count: int, prompts: Path | None) -> tuple[int, float]:  # type: ignore[no-untyped-def]
    source = open_video(video)
    shown = read_prompts(prompts)[:count] if prompts else spread(source.info.size, count)
    done = [0]

    def count_frame(so_far: int, total: int | None) -> None:
        done[0] = so_far

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        job = TrackJob(source, tuple(shown), Path(folder) / "out")
        run_track(job, tracker, RunMonitor(on_frame=count_frame))
        return done[0], time.perf_counter() - began


def spread(size: tuple[int, int], count: int) -> list[TimedPrompt]:
    height, width = size
    step = width / (count + 1)
    low, high = height * 0.3, height * 0.7
    return [
        TimedPrompt(ObjectId(n + 1), Box(step * (n + 0.7), low, step * (n + 1.3), high))
        for n in range(count)
    ]


if __name__ == "__main__":
    main()
