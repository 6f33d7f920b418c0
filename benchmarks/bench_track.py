"""Frames a second of the whole main job (decode, track, write overlay and PNGs), and its memory.

    python benchmarks/bench_track.py VIDEO [--prompts FILE] [--recipe NAME] [--objects 1,3]
                                     [--every 1,auto]

Runs the numbers of objects, each with every setting of `--every`, `--repeat` times in turn, and
quotes medians and their ratio to the first. CPU time is that of the process, all threads together:
on a busy machine only its ratios mean something. Objects are the first ones of a prompts file, as
`track --prompts` takes it; without one, boxes spread over the first frame. Boxes that hold no thing
are soon doubted, and every doubt asks the concept. Threads wait as those of the command line do.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # is read when torch is imported

import torch

from segment_concept import Box, ObjectId
from segment_concept.checkpoints.load import load
from segment_concept.pipeline.prompts import TimedPrompt, read_prompts
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track
from segment_concept.tracking.api import Every
from segment_concept.video.open import open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--recipe", default="sec_compact")
    parser.add_argument("--objects", default="1,3")
    parser.add_argument("--every", default="auto", help="1, auto or both")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tracker = load(options.recipe, device="cpu")
    runs = [
        Run(int(count), "auto" if every == "auto" else 1)
        for count in options.objects.split(",")
        for every in options.every.split(",")
    ]
    for _ in range(options.repeat):
        for run in runs:
            run.measure(tracker, options.video, options.prompts)
    for run in runs:
        print(run.line(runs[0]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:.0f} MB, {options.threads} threads")


@dataclass
class Run:
    """One setting; the figures of a frame are in ms, one per repetition."""

    objects: int
    every: Every
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, tracker, video: str, prompts: Path | None) -> None:  # type: ignore[no-untyped-def]
        wall, cpu = time.perf_counter(), time.process_time()
        frames = once(replace(tracker, every=self.every), video, self.objects, prompts)
        self.wall.append((time.perf_counter() - wall) / frames * 1000)
        self.cpu.append((time.process_time() - cpu) / frames * 1000)

    def line(self, first: "Run") -> str:
        wall, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        return (
            f"{self.objects} objects, every {self.every}: {1000 / wall:5.1f} frames/s "
            f"({wall:.0f} ms a frame, {wall / statistics.median(first.wall):.2f} x the first; "
            f"CPU {cpu:.0f} ms, {cpu / statistics.median(first.cpu):.2f} x)"
        )


def once(tracker, video: str, count: int, prompts: Path | None) -> int:  # type: ignore[no-untyped-def]
    """Track a video; the number of frames."""
    source = open_video(video)
    shown = read_prompts(prompts)[:count] if prompts else spread(source.info.size, count)
    with tempfile.TemporaryDirectory() as folder:
        job = TrackJob(source, tuple(shown), Path(folder) / "out")
        return run_track(job, tracker, RunMonitor()).stepped


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
