"""The folder of a run: what it is for, what is done, and nothing half written.

manifest.json        what is run; a run for something else is refused
masks/<video>/       predictions, as a scorer reads them
videos/<video>.json  what came of a video; written last, so that it says "done" of whole ones
cost/<video>.json    how long it took, which is the only thing that differs between two runs
"""

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segment_concept.evaluate.predict import Prediction
from segment_concept.runtime.files import _HIDDEN, _umask, write_json
from segment_concept.types import InputError, SegmentConceptError

MANIFEST = "manifest.json"
_FORMAT = 1
_REASONS = {
    errno.ENOSPC: "the disk is full: make room and start the same command again",
    errno.EDQUOT: "your share of the disk is used up: make room and start the same command again",
    errno.EROFS: "the disk is read-only: name another folder with --out",
    errno.EACCES: "it may not be written to: name another folder with --out",
    errno.EPERM: "it may not be written to: name another folder with --out",
}


class RunError(SegmentConceptError):
    """A run's folder cannot be written to: no use in trying the next video."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What decides the results of a run.

    `dataset` is a fingerprint of the data; `tracker` describes the recipe and the sha256 of its
    weights; `versions` are those of the programs that compute.
    """

    benchmark: str
    split: str
    dataset: str
    videos: tuple[str, ...]
    recipe: str
    tracker: Mapping[str, Any]
    alone: bool
    versions: Mapping[str, str]
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """What came of a video: a prediction, or the reason why there is none."""

    video: str
    prediction: Prediction | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a video took. `memory` is the peak of its process so far, in bytes, `gpu_memory` that

    of its GPU; None where it is not known.
    """

    frames: int
    seconds: float
    memory: int | None = None
    gpu_memory: int | None = None
    device: str = ""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its results."""

    path: Path

    @property
    def masks(self) -> Path:
        """A folder of predictions a video."""
        return self.path / "masks"

    def begin(self, manifest: Manifest) -> None:
        """Write down what the run is for, or see that it is the same as before.

        Raises:
            InputError: the folder holds another run, or something else.
            RunError: it cannot be written to.
        """
        there = self.path / MANIFEST
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: name a folder with --out")
        with explained(self.path):
            if there.exists():
                _refuse_other(read_manifest(self.path), manifest, self.path)
                return
            if self.path.is_dir() and any(p.name[0] != _HIDDEN for p in self.path.iterdir()):
                raise InputError(f"{self.path} holds other files: name another folder with --out")
            for name in ("masks", "videos", "cost"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            write_json(there, asdict(manifest))

    def remove_partial(self, videos: Sequence[str]) -> None:
        """Remove what a run that was killed left half written of these videos."""
        wanted = {f"{_HIDDEN}{video}{_HIDDEN}" for video in videos}
        with explained(self.path):
            for entry in self.masks.iterdir():
                if entry.name.rpartition(_HIDDEN)[0] + _HIDDEN in wanted:
                    shutil.rmtree(entry, ignore_errors=True)
            begun = tuple(f"{_HIDDEN}{video}.json" for video in videos)
            for name in ("videos", "cost"):
                for entry in (self.path / name).iterdir():
                    if entry.name.startswith(begun):
                        entry.unlink(missing_ok=True)

    @contextmanager
    def staging_folder(self, video: str) -> Iterator[Path]:
        """An empty folder for a video's masks; gone at the end unless it was committed.

        Raises:
            RunError: the folder, or what is written in it, finds no room.
        """
        with explained(self.path):
            draft = Path(tempfile.mkdtemp(prefix=f"{_HIDDEN}{video}{_HIDDEN}", dir=self.masks))
            try:
                draft.chmod(0o777 & ~_umask())  # mkdtemp's are for the owner only
                yield draft
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def commit(self, draft: Path, record: VideoRecord, cost: Cost) -> None:
        """Make a video's masks and record valid; a kill before the last step undoes it all.

        Raises:
            RunError: the disk is full, or such.
        """
        with explained(self.path):
            final = self.masks / record.video
            if final.exists():  # left by a run that was killed before it wrote the record
                old = Path(tempfile.mkdtemp(prefix=draft.name, dir=self.masks))
                with suppress(FileNotFoundError):
                    final.rename(old / record.video)
                shutil.rmtree(old, ignore_errors=True)
            draft.rename(final)
            write_json(self.path / "cost" / f"{record.video}.json", asdict(cost))
            self.write_record(record)

    def write_record(self, record: VideoRecord) -> None:
        """Write what came of a video."""
        with explained(self.path):
            write_json(self.path / "videos" / f"{record.video}.json", asdict(record))

    def record(self, video: str) -> VideoRecord | None:
        """What came of a video; None where it is not done."""
        found = _read(self.path / "videos" / f"{video}.json")
        if found is None:
            return None
        values = found["prediction"]
        if values is None:
            return VideoRecord(found["video"], None, found["problem"])
        cuts = tuple(values["cuts"])
        return VideoRecord(found["video"], Prediction(**{**values, "cuts": cuts}))

    def cost(self, video: str) -> Cost | None:
        """What a video took; None where it is not known."""
        found = _read(self.path / "cost" / f"{video}.json")
        return None if found is None else Cost(**found)

    def is_done(self, video: str) -> bool:
        """Whether a video is predicted; broken ones are tried again."""
        record = self.record(video)
        return record is not None and record.prediction is not None


def read_manifest(path: Path) -> Manifest:
    """What a run's folder is for.

    Raises:
        InputError: it is no run's folder, or another version's.
    """
    found = _read(path / MANIFEST)
    if found is None:
        raise InputError(
            f"{path} is no run: it has no {MANIFEST}. A run is what `segment-concept evaluate "
            "--out` writes"
        )
    try:
        return Manifest(**{**found, "videos": tuple(found["videos"])})
    except (KeyError, TypeError) as error:
        raise InputError(f"{path / MANIFEST} is another version's: name another folder") from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Says in plain words what a disk could not do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise RunError(f"{path} cannot be written: {_REASONS[error.errno]}") from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise InputError(f"{path.parent} is a file: name a folder") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: remove it and run again") from error


def _refuse_other(before: Manifest, now: Manifest, path: Path) -> None:
    old, new = asdict(before), json.loads(json.dumps(asdict(now)))
    for key, value in new.items():
        was = list(old[key]) if isinstance(old[key], tuple) else old[key]
        if was != value:
            shown = f" ({was} there, {value} now)" if isinstance(value, str | bool) else ""
            raise InputError(
                f"{path} holds a run with another {key}{shown}: results would be mixed. Use the "
                "same options, or name another folder with --out"
            )
