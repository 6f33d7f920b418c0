"""The folder of an evaluation run.

manifest.json        what is evaluated; a run of something else is refused
masks/<video>/       predictions, in the layout that scorers read
videos/<video>.json  result of a video; written last, so it exists for complete videos only
cost/<video>.json    time and memory; the only content that differs between two equal runs
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segment_concept.evaluate.predict import Prediction
from segment_concept.runtime.files import (
    HIDDEN,
    disk_errors,
    unfinished_name,
    write_json,
)
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that determines the results of a run.

    `dataset` is a fingerprint of the data; `tracker` describes the recipe and the sha256 of its
    weights; `versions` are those of the installed packages.
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
    offline: bool = False


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """Result of a video: a prediction, or the reason why there is none."""

    video: str
    prediction: Prediction | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Time and memory that a video took.

    `memory` and `gpu_memory` are the peaks of the process so far, in bytes; None if unknown.
    """

    frames: int
    seconds: float
    memory: int | None = None
    gpu_memory: int | None = None
    device: str = ""


@dataclass(frozen=True)
class RunFolder:
    """Read and write the results of a run."""

    path: Path

    @property
    def masks(self) -> Path:
        """The folder with one subfolder of predictions per video."""
        return self.path / "masks"

    def begin(self, manifest: Manifest) -> None:
        """Write the manifest, or check that the existing one is the same.

        Raises:
            InputError: the folder holds another run or other files.
            OutputError: the folder cannot be written.
        """
        manifest_file = self.path / MANIFEST
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: choose a folder with --out")
        with disk_errors(self.path):
            if manifest_file.exists():
                _refuse_other(read_manifest(self.path), manifest, self.path)
                return
            if self.path.is_dir() and any(p.name[0] != HIDDEN for p in self.path.iterdir()):
                raise InputError(
                    f"{self.path} contains other files: choose another folder with --out"
                )
            for name in ("masks", "videos", "cost"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            write_json(manifest_file, asdict(manifest))

    def remove_partial(self, videos: Sequence[str]) -> None:
        """Remove unfinished files of these videos that a killed run left behind."""
        prefixes = {f"{HIDDEN}{video}{HIDDEN}" for video in videos}
        with disk_errors(self.path):
            for entry in self.masks.iterdir():
                if entry.name.rpartition(HIDDEN)[0] + HIDDEN in prefixes:
                    shutil.rmtree(entry, ignore_errors=True)
            unfinished = tuple(f"{HIDDEN}{video}.json" for video in videos)
            for name in ("videos", "cost"):
                for entry in (self.path / name).iterdir():
                    if entry.name.startswith(unfinished):
                        entry.unlink(missing_ok=True)

    @contextmanager
    def staging_folder(self, video: str) -> Iterator[Path]:
        """An empty folder for a video's masks; removed at the end unless it was committed.

        Raises:
            OutputError: the folder or a file in it cannot be written.
        """
        with disk_errors(self.path):
            draft = self.masks / unfinished_name(video)
            draft.mkdir()
            try:
                yield draft
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def commit(self, draft: Path, record: VideoRecord, cost: Cost) -> None:
        """Make a video's masks and record valid; the record is written last.

        Raises:
            OutputError: a file cannot be written.
        """
        with disk_errors(self.path):
            final = self.masks / record.video
            if final.exists():  # left by a run that was killed before it wrote the record
                old = self.masks / unfinished_name(record.video)
                with suppress(FileNotFoundError):
                    final.rename(old)
                shutil.rmtree(old, ignore_errors=True)
            draft.rename(final)
            write_json(self.path / "cost" / f"{record.video}.json", asdict(cost))
            self.write_record(record)

    def write_record(self, record: VideoRecord) -> None:
        """Write the result of a video."""
        with disk_errors(self.path):
            write_json(self.path / "videos" / f"{record.video}.json", asdict(record))

    def record(self, video: str) -> VideoRecord | None:
        """The result of a video; None if it is not done."""
        found = _read(self.path / "videos" / f"{video}.json")
        if found is None:
            return None
        values = found["prediction"]
        if values is None:
            return VideoRecord(found["video"], None, found["problem"])
        cuts = tuple(values["cuts"])
        return VideoRecord(found["video"], Prediction(**{**values, "cuts": cuts}))

    def cost(self, video: str) -> Cost | None:
        """Time and memory that a video took; None if unknown."""
        found = _read(self.path / "cost" / f"{video}.json")
        return None if found is None else Cost(**found)

    def is_done(self, video: str) -> bool:
        """Whether a video is predicted; failed videos are tried again."""
        record = self.record(video)
        return record is not None and record.prediction is not None


def read_manifest(path: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        InputError: it is not a run folder, or another version wrote it.
    """
    found = _read(path / MANIFEST)
    if found is None:
        raise InputError(
            f"{path} is not a run folder (no {MANIFEST}): give a folder written by "
            "`segment-concept evaluate --out`"
        )
    try:
        return Manifest(**{**found, "videos": tuple(found["videos"])})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path / MANIFEST} was written by another version of segment-concept: choose another "
            "folder"
        ) from error


def _read(path: Path) -> Any:
    return read_json(path, "remove it and run again") if path.exists() else None


def _refuse_other(existing: Manifest, requested: Manifest, path: Path) -> None:
    old, new = asdict(existing), json.loads(json.dumps(asdict(requested)))
    for key, value in new.items():
        previous = list(old[key]) if isinstance(old[key], tuple) else old[key]
        if previous != value:
            difference = (
                f" ({previous} there, {value} now)" if isinstance(value, str | bool) else ""
            )
            raise InputError(
                f"{path} holds a run with another {key}{difference}: results would be mixed. Use "
                "the same options, or choose another folder with --out"
            )
