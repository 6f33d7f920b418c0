"""Memory of a session over a long video: it must not grow with the number of frames.

    python benchmarks/bench_memory.py [--frames 2000] [--recipe sec_compact] [--objects 2]

Plays the demo clip over and over as one long video and prints, every so often, the resident memory
of the process and how many memories the session holds.
"""

import argparse
from collections.abc import Iterator
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path

from segment_concept import Box, Frame, load, open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--recipe", default="sec_compact")
    parser.add_argument("--objects", type=int, default=2)
    options = parser.parse_args()
    frames = long_video(options.frames)
    session = load(options.recipe).session()
    first = next(frames)
    height, width = first.size
    step = width / (options.objects + 1)
    session.prompt(
        first,
        {
            n + 1: Box(step * (n + 0.7), height * 0.3, step * (n + 1.3), height * 0.7)
            for n in range(options.objects)
        },
    )
    print("frame  resident MB  memories held")
    for result in session.track(frames):
        if result.frame_index % max(1, options.frames // 20) == 0:
            held = sum(
                len(track.bank.prompted) + len(track.bank.tracked)
                for tracks in session.tracks.values()
                for track in tracks
            )
            print(f"{result.frame_index:5d}  {resident():11.0f}  {held:13d}")


def long_video(count: int) -> Iterator[Frame]:
    with (files("segment_concept") / "assets/demo/demo.mp4").open("rb") as file:
        clip = list(open_video(file.name).frames())
    for index, frame in enumerate(islice(cycle(clip), count)):
        yield Frame(index, frame.rgb)


def resident() -> float:
    """Megabytes, from the system's own account of this process."""
    fields = Path("/proc/self/status").read_text().splitlines()
    line = next(field for field in fields if field.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
