"""Kill, malform and stream: how the program behaves under rough handling, as a table.

    python tools/reliability.py kills --points 1000
    python tools/reliability.py malformed --inputs 2000
    python tools/reliability.py stream --frames 20000

Everything follows from --seed, except at which instruction a kill strikes. Each attempt runs in a
forked process with limits on time and memory, so an attempt that hangs or fills the memory is
counted and the campaign continues. Needs a system with `fork`; run it from a clone, since it uses
the tests' videos and their tracker that follows a color.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image as Picture  # noqa: E402

from helpers import dataset_builders as datasets  # noqa: E402
from helpers.tracking_toy import ColorSegmenter  # noqa: E402
from helpers.video_toys import Film, truth, write_film  # noqa: E402
from segment_concept.checkpoints import load as loading  # noqa: E402
from segment_concept.cli.app import make_app  # noqa: E402
from segment_concept.pipeline.outputs import OutputFormat  # noqa: E402
from segment_concept.pipeline.prompts import TimedPrompt  # noqa: E402
from segment_concept.pipeline.run_folder import IfExists  # noqa: E402
from segment_concept.pipeline.track import RunMonitor, TrackJob, run_track  # noqa: E402
from segment_concept.tracking.tracker import Tracker  # noqa: E402
from segment_concept.types import Box, Frame, InputError, ObjectId  # noqa: E402
from segment_concept.video.open import open_video  # noqa: E402

CPU_SECONDS, PEAK_BYTES = 20, 2 << 30  # what an attempt may take, beside what is loaded before
WALL_SECONDS = 120
BOX = "4,12,20,28"
SAVE = frozenset({OutputFormat.PALETTE, OutputFormat.RLE, OutputFormat.OVERLAY})


@dataclass(frozen=True)
class Ended:
    """How a forked attempt ended."""

    code: int  # exit status; negative: the signal
    cpu: float  # seconds
    peak: int  # bytes
    text: str  # what it printed


def forked(action: Callable[[], int], *, kill_after: float | None = None) -> Ended:
    """Run an action in a child of this process; kill it after some seconds if asked to."""
    with tempfile.TemporaryFile() as out:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS + 5, CPU_SECONDS + 10))
            code = 70
            try:
                code = action()
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        deadline = time.monotonic() + (kill_after if kill_after is not None else WALL_SECONDS)
        while True:
            found, status, usage = os.wait4(child, os.WNOHANG)
            if found:
                break
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                _, status, usage = os.wait4(child, 0)
                break
            time.sleep(0.002)
        out.seek(0)
        text = out.read().decode(errors="replace")
    cpu = usage.ru_utime + usage.ru_stime
    return Ended(os.waitstatus_to_exitcode(status), cpu, usage.ru_maxrss * 1024, text)


# Kills -------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a finished run; `result.json` without what says when and how fast."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.name == "result.json":
            result = json.loads(data)
            for key in ("seconds", "started", "run"):
                result.pop(key, None)
            data = json.dumps(result, sort_keys=True).encode()
        if path.suffix != ".mp4":  # an encoder begins again where it was cut
            found[str(path.relative_to(folder))] = data
    return found


def kills(points: int, seed: int) -> Counter[str]:
    """SIGKILL a tracking run at random moments and resume it, until it ends."""
    rng, counted = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        film = write_film(work / "film.mp4", Film(frames=40))
        prompt = TimedPrompt(ObjectId(1), Box(4, 12, 20, 28))

        def run(out: Path, if_exists: IfExists) -> int:
            job = TrackJob(open_video(film), (prompt,), out, SAVE, if_exists=if_exists)
            run_track(job, Tracker(ColorSegmenter()), RunMonitor(save_every=0.0))
            return 0

        begin = time.monotonic()
        assert forked(lambda: run(work / "whole", IfExists.REFUSE)).code == 0
        length = time.monotonic() - begin
        expected = contents(work / "whole")
        while counted["kills"] < points:
            out = work / f"run{counted['runs']}"
            while True:
                delay = rng.uniform(0, length)
                ended = forked(lambda: run(out, IfExists.RESUME), kill_after=delay)  # noqa: B023
                if ended.code != -signal.SIGKILL:
                    break
                counted["kills"] += 1
            counted["runs"] += 1
            found = contents(out) if ended.code == 0 else {}
            differing = sorted(n for n in {*found, *expected} if found.get(n) != expected.get(n))
            counted["DIFFERENT" if differing else "equal to an undisturbed run"] += 1
            if differing:
                print(out.name, ended.code, differing[:5], ended.text[-500:], flush=True)
                shutil.copytree(out, ROOT / ".reliability" / out.name, dirs_exist_ok=True)
            shutil.rmtree(out, ignore_errors=True)
    return counted


# Malformed inputs --------------------------------------------------------------------------------

NASTY = [
    "1e999", "-1", "NaN", "null", "[]", "{}", '"²"', '"../../x"', "9" * 400, "0.00001", "true",
    '"\\u001b[2J"', "[" * 5000, '"[bold]x[/bold]"', "1e-320", '"' + "x" * 5000 + '"',
]  # fmt: skip


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one to four pieces removed, repeated, overwritten or replaced."""
    changed = bytearray(data)
    rng = draw(st.randoms(use_true_random=False))
    for _ in range(rng.randint(1, 4)):
        size = len(changed)
        at = rng.randrange(size) if size else 0
        end = min(size, at + rng.choice([1, 1, 2, 4, 16, 256]))
        kind = rng.choice(["cut", "drop", "repeat", "zero", "noise", "noise", "nasty", "nasty"])
        if kind == "cut":
            del changed[at:]
        elif kind == "drop":
            del changed[at:end]
        elif kind == "repeat":
            changed[at:at] = changed[at:end]
        elif kind == "zero":
            changed[at:end] = bytes(end - at)
        elif kind == "noise":
            changed[at:end] = rng.randbytes(end - at)
        else:
            changed[at:end] = rng.choice(NASTY).encode()
    return bytes(changed)


@dataclass(frozen=True)
class Kind:
    """A kind of input: a sound file, and the command that reads it. `{}` stands for the file."""

    name: str
    path: Path
    words: tuple[str, ...]
    before: Callable[[Path], None] = lambda out: None
    toy: bool = True  # track with the tracker that follows a color, not with the weights


def kinds(work: Path) -> Iterator[Kind]:
    """Every kind of file that a command reads."""
    film = write_film(work / "film.mp4", Film(frames=6, sound="aac"))
    prompts = work / "prompts.json"
    entry = {"at": 0, "object": 1, "box": [4, 12, 20, 28]}
    prompts.write_text(
        json.dumps({"prompts": [entry, {"at": 0.1, "object": 2, "points": [[9, 9]]}]})
    )
    Picture.fromarray(truth(0).view(np.uint8) * np.uint8(255)).save(work / "mask.png")
    cuts = work / "cuts.txt"
    cuts.write_text("2\n4\n")
    edl = work / "cuts.edl"
    edl.write_text(
        "TITLE: x\n001  AX V C 00:00:00:00 00:00:00:03 00:00:00:00 00:00:00:03\n"
        "002  AX V C 00:00:00:03 00:00:00:06 00:00:00:03 00:00:00:06\n"
    )
    track = ("track", str(film), "--out", "{out}", "--quiet")
    yield Kind("video", film, ("track", "{}", "--out", "{out}", "--quiet", "--box", BOX))
    yield Kind("prompts", prompts, (*track, "--prompts", "{}"))
    yield Kind("mask", work / "mask.png", (*track, "--mask", "{}"))
    yield Kind("cut list", cuts, (*track, "--box", BOX, "--cuts", "{}"))
    yield Kind("EDL", edl, (*track, "--box", BOX, "--cuts", "{}"))
    weights = loading.bundled_weights()
    yield Kind("weights", weights, (*track, "--box", BOX, "--weights", "{}"), toy=False)
    for name, make, meta in (
        ("DAVIS", datasets.davis2017, "ImageSets/2017/val.txt"),
        ("YouTube-VOS", datasets.youtube_vos, "valid/meta.json"),
        ("MOSE", datasets.mose2, "valid/meta.json"),
        ("LVOS", datasets.lvos, "valid/valid_meta.json"),
        ("SeCVOS", datasets.secvos, "scene_info.json"),
        ("SA-V train", datasets.sav_train_json, "sav_000/sav_9_manual.json"),
    ):
        root = make(work / name)
        if name == "SA-V train":
            shutil.copy(film, root / "sav_000/sav_9.mp4")
        split = {"DAVIS": "val", "SeCVOS": "val", "SA-V train": "train"}.get(name, "valid")
        yield Kind(f"{name} lists", root / meta, ("dataset", "check", str(root), "--split", split))
    for state in ("request.json", "checkpoint.bin", "result.json", "frames.jsonl"):
        yield Kind(f"state: {state}", film, (), state_of(film, state))


def state_of(film: Path, name: str) -> Callable[[Path], None]:
    """Leaves an interrupted run in a folder; `malformed` then damages one of its files."""

    def make(out: Path) -> None:
        seen = iter(range(100))
        resume(film, out, RunMonitor(should_stop=lambda: next(seen) > 2))

    make.damages = name  # type: ignore[attr-defined]
    return make


def resume(film: Path, out: Path, monitor: RunMonitor | None = None) -> int:
    """Start or resume a run; the exit code as that of the command."""
    prompt = TimedPrompt(ObjectId(1), Box(4, 12, 20, 28))
    job = TrackJob(open_video(film), (prompt,), out, SAVE, if_exists=IfExists.RESUME)
    try:
        run_track(job, Tracker(ColorSegmenter()), monitor)
    except InputError as error:
        print(f"error: {error}")
        return 2
    return 0


def action(kind: Kind, path: Path, out: Path) -> Callable[[], int]:
    """What an attempt does with the file at `path`."""
    if not kind.words:
        return lambda: resume(kind.path, out)
    words = tuple(w.replace("{out}", str(out)).replace("{}", str(path)) for w in kind.words)
    return lambda: command_line(words, toy=kind.toy)


def command_line(words: tuple[str, ...], *, toy: bool) -> int:
    """The exit code of a command, where asked for with the tracker that follows a color."""
    if toy:
        loading.load = lambda recipe, **how: Tracker(ColorSegmenter())  # type: ignore[assignment]
    try:
        make_app()(list(words), prog_name="segment-concept")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def verdict(ended: Ended, base: int) -> str:
    """In one word, whether the attempt ended as it should."""
    if "Traceback (most recent call last)" in ended.text:
        return "TRACEBACK"
    if ended.code < 0 or ended.cpu > CPU_SECONDS:
        return "HANG OR CRASH"
    if ended.peak - base > PEAK_BYTES:
        return "MEMORY"
    return "refused" if ended.code else "used"


def malformed(inputs: int, seed: int) -> Counter[str]:
    """Give commands files that were damaged by hypothesis; count how they end."""
    counted = Counter[str]()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        every = list(kinds(work))
        for kind in every:
            share = -(-inputs // len(every))
            check_sound(kind, work / "sound")
            for data, number in examples(kind, work, share, seed):
                counted[attempt(kind, data, work / f"out{number}", base)] += 1
            print(kind.name, dict(counted), flush=True)
    return counted


def check_sound(kind: Kind, out: Path) -> None:
    """The undamaged file must be accepted, or the campaign would prove nothing."""
    kind.before(out)
    ended = forked(action(kind, kind.path, out))
    if ended.code != 0:
        sys.exit(f"the undamaged {kind.name} is refused: {ended.text[-2000:]}")
    shutil.rmtree(out, ignore_errors=True)


def examples(kind: Kind, work: Path, count: int, seed: int) -> Iterator[tuple[bytes, int]]:
    """Damaged forms of the kind's file."""
    sound = kind.path
    damages = getattr(kind.before, "damages", None)
    if damages is not None:
        kind.before(work / "before")
        sound = next((p for p in (work / "before").rglob(f"{damages}*")), kind.path)
    original, found = sound.read_bytes(), []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(damage(original))
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    for number, data in enumerate(found):
        yield data, number
    shutil.rmtree(work / "before", ignore_errors=True)


def attempt(kind: Kind, data: bytes, out: Path, base: int) -> str:
    """Run the command on the damaged file, in a child; put the sound file back."""
    damages = getattr(kind.before, "damages", None)
    if damages is not None:
        shutil.copytree(out.parent / "before", out)
        path = next((p for p in out.rglob(f"{damages}*")), out / damages)
    else:
        path = kind.path if "dataset" in kind.words else out.with_suffix(kind.path.suffix)
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(data)
    ended = forked(action(kind, path, out))
    found = verdict(ended, base)
    if found.isupper():
        print(f"{kind.name}: {found}: {ended.text.strip().splitlines()[-1:]} {data[:60]!r}")
    if before is not None and path.parent.is_dir():
        path.write_bytes(before)
    else:
        path.unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    return found


# Streams -----------------------------------------------------------------------------------------


def stream(frames: int, seed: int) -> Counter[str]:
    """Follow an object with corrections every 100 frames; resident memory along the way, in MB."""
    from segment_concept.recipes import find_recipe

    tracker = loading.load_tracker(find_recipe("sec_compact"), device="cpu")
    tracker = replace(tracker, segmenter=replace_side(tracker.segmenter, 64))
    rng = random.Random(seed)
    session, counted = tracker.session(), Counter[str]()
    for index in range(frames):
        picture = torch.full((48, 64, 3), 60 + rng.randrange(20), dtype=torch.uint8).numpy()
        left = 4 + index % 40
        picture[12:28, left : left + 16] = (220, 30, 30)
        frame = Frame(index, picture)
        prompts = {ObjectId(1): Box(left, 12, left + 16, 28)} if index % 100 == 0 else {}
        session.step(frame, prompts)
        if index + 1 in (frames // 10, frames // 2, frames):
            counted[f"MB after {index + 1} frames"] = resident() >> 20
    return counted


def replace_side(segmenter: Any, side: int) -> Any:
    """The same network with a smaller input: what is measured is growth, not size."""
    segmenter.short_side = side
    return segmenter


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Parse the options, run a campaign, print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("campaign", choices=("kills", "malformed", "stream"))
    parser.add_argument("--points", type=int, default=1000, help="Kill points.")
    parser.add_argument("--inputs", type=int, default=2000, help="Malformed inputs.")
    parser.add_argument("--frames", type=int, default=20_000, help="Frames of the stream.")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = {"kills": kills, "malformed": malformed, "stream": stream}[given.campaign]
    amount = {"kills": given.points, "malformed": given.inputs, "stream": given.frames}
    found = run(amount[given.campaign], given.seed)
    for name, value in found.items():
        print(f"| {name} | {value} |")
    if any(name.isupper() or name == "DIFFERENT" for name in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
