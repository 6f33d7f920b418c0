"""CPU time, memory and result of our scorer beside vos-benchmark's on the same masks.

    python -m venv vosb && vosb/bin/pip install vos-benchmark zlib-ng
    python benchmarks/bench_metrics.py --vosb-python vosb/bin/python --masks DAVIS/Annotations/480p

Without --masks, videos of drifting blobs at 854x480 are generated. Predictions are the masks,
shifted, eroded and with specks, as palette PNG. Every scorer runs in processes of its own and
reports the CPU seconds of all of them, start-up included; global J and F must agree to 1e-9.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SOURCE = Path(__file__).parents[1] / "src"
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * 756

THEIRS = """
import json, sys
from vos_benchmark.benchmark import benchmark
_, j, f, _ = benchmark([sys.argv[1]], [sys.argv[2]], num_processes=int(sys.argv[3]), verbose=False)
print(json.dumps({"J": float(j[0]) / 100, "F": float(f[0]) / 100}))
"""
OURS = """
import json, sys
from pathlib import Path
from segment_concept.data.datasets import open_dataset
from segment_concept.data.videos import Benchmark, Source
from segment_concept.evaluate.rules import rules_for
from segment_concept.evaluate.scoring import Work, score_dataset
if __name__ == "__main__":
    dataset = open_dataset(Benchmark.FOLDER, Source(Path(sys.argv[1])))
    work = Work(processes=int(sys.argv[3]))
    scores = score_dataset(dataset, Path(sys.argv[2]), rules_for(Benchmark.FOLDER), work)
    print(json.dumps({m: scores.headline[m] for m in ("J", "F")}))
"""


def save(labels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    image.putpalette(PALETTE)
    image.save(path)


def generated(root: Path, videos: int, frames: int) -> Path:
    """Drifting, wobbling blobs, three objects a video."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :854]
    for video in range(videos):
        centre = rng.uniform((120, 120), (360, 734), (3, 2))
        speed = rng.uniform(-3, 3, (3, 2))
        size = rng.uniform(30, 110, 3)
        for frame in range(frames):
            labels = np.zeros((480, 854), np.uint8)
            for i in range(3):
                dy, dx = (
                    y - centre[i, 0] - frame * speed[i, 0],
                    x - centre[i, 1] - frame * speed[i, 1],
                )
                wobble = 1 + 0.25 * np.sin(5 * np.arctan2(dy, dx) + 0.2 * frame)
                labels[np.hypot(dy, dx) < size[i] * wobble] = i + 1
            save(labels, root / f"video{video:02d}" / f"{frame:05d}.png")
    return root


def copied(masks: Path, root: Path, palette: bool) -> Path:
    """A dataset's own masks as label maps of 0 and 1, or as they are."""
    for path in sorted(masks.glob("*/*.png")):
        target = root / path.relative_to(masks)
        if palette:
            save((np.asarray(Image.open(path)) > 0).astype(np.uint8), target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return root


def predicted(truth: Path, root: Path) -> Path:
    """Masks that are wrong in the usual ways."""
    rng = np.random.default_rng(1)
    for path in sorted(truth.glob("*/*.png")):
        labels = np.asarray(Image.open(path)).copy()
        ids = [i for i in np.unique(labels) if i]
        labels = np.roll(labels, tuple(rng.integers(-4, 5, 2)), (0, 1))
        kept = cv2.erode((labels > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        labels = labels * kept
        for _ in range(3 if ids else 0):
            at = rng.integers(0, labels.shape[0] - 8), rng.integers(0, labels.shape[1] - 8)
            labels[at[0] : at[0] + 6, at[1] : at[1] + 6] = rng.choice(ids)
        save(labels, root / path.relative_to(truth))
    return root


def measured(python: str, script: str, arguments: list[str]) -> dict[str, float]:
    """Run a script; its answer, CPU seconds of it and its children, wall seconds, peak MB."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.py"
        path.write_text(script)
        start = time.perf_counter()
        process = subprocess.Popen(
            [python, str(path), *arguments], stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{python} failed with exit code {process.returncode}")
    result = json.loads(answer.decode().strip().splitlines()[-1])
    return {
        **result,
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.perf_counter() - start,
        "megabytes": usage.ru_maxrss / 1024,
    }


def has_fast_inflate(python: str) -> bool:
    return subprocess.run([python, "-c", "import zlib_ng"], capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vosb-python", required=True, help="an interpreter with vos-benchmark")
    parser.add_argument("--masks", type=Path, help="a folder of videos of PNG masks")
    parser.add_argument("--as-they-are", action="store_true", help="keep the masks' PNG encoding")
    parser.add_argument("--videos", type=int, default=6, help="of the generated set")
    parser.add_argument("--frames", type=int, default=60, help="of the generated set")
    parser.add_argument("--processes", default="1", help="numbers of processes, between commas")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the least of each is shown")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder) / "truth"
        if arguments.masks:
            copied(arguments.masks, truth, not arguments.as_they_are)
        else:
            generated(truth, arguments.videos, arguments.frames)
        prediction = predicted(truth, Path(folder) / "prediction")
        compare(arguments, truth, prediction)


def compare(arguments: argparse.Namespace, truth: Path, prediction: Path) -> None:
    count = len(list(truth.glob("*/*.png")))
    print(f"{count} frames, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, "
          f"the least of {arguments.repeat} rounds")  # fmt: skip
    runs = [("vos-benchmark", arguments.vosb_python, THEIRS), ("ours", sys.executable, OURS)]
    if not has_fast_inflate(sys.executable) and has_fast_inflate(arguments.vosb_python):
        runs.append(("ours, zlib-ng", arguments.vosb_python, OURS))
    for processes in arguments.processes.split(","):
        print(f"{processes} process(es)")
        given = [str(truth), str(prediction), processes]
        # turn about, so that what else the machine does falls on all of them
        rounds = [
            [measured(python, script, given) for _, python, script in runs]
            for _ in range(arguments.repeat)
        ]
        best = [least(of_one) for of_one in zip(*rounds, strict=True)]
        for (name, _, _), run in zip(runs, best, strict=True):
            print(row(name, run, best[0]), flush=True)


def least(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The answer, which is always the same, and the least of every cost."""
    return {name: min(run[name] for run in runs) for name in runs[0]}


def row(name: str, run: dict[str, float], base: dict[str, float]) -> str:
    wrong = [m for m in ("J", "F") if abs(run[m] - base[m]) > 1e-9]
    if wrong:
        raise SystemExit(f"{name} disagrees with vos-benchmark on {wrong}")
    return (
        f"{name:15} J {run['J']:.9f}  F {run['F']:.9f}  CPU {run['cpu']:6.2f} s  "
        f"({base['cpu'] / run['cpu']:4.1f}x)  wall {run['wall']:6.2f} s  "
        f"{run['megabytes']:5.0f} MB"
    )


if __name__ == "__main__":
    main()
