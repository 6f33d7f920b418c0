"""What a dataset is made of: videos, the objects in them, and where their masks lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from segment_concept.datasets.masks import Layer


class Benchmark(str, Enum):
    """The published datasets with a scoring protocol, and a plain folder of masks."""

    DAVIS2016 = "davis2016"
    DAVIS2017 = "davis2017"
    DAVIS2017_UNSUPERVISED = "davis2017-unsupervised"
    YOUTUBE_VOS_2018 = "youtubevos2018"
    YOUTUBE_VOS_2019 = "youtubevos2019"
    MOSE = "mose1"
    MOSE2 = "mose2"
    LVOS1 = "lvos1"
    LVOS2 = "lvos2"
    SA_V = "sav"
    SECVOS = "secvos"
    FOLDER = "folder"


class Group(str, Enum):
    """Whether training data showed an object's category, or a video's (LVOS)."""

    NONE = ""
    SEEN = "seen"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset lies, and what does not lie with it.

    `truth` replaces the folder of annotations (for sets whose full truth is kept apart);
    `unseen` is the list of unseen categories (YouTube-VOS) or unseen videos (LVOS).
    """

    root: Path
    split: str = "val"
    truth: Path | None = None
    unseen: Path | None = None


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """What a dataset's metadata says of one object."""

    name: str
    frames: tuple[str, ...] = ()  # those its metadata lists, in order
    category: str = ""
    group: Group = Group.NONE


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One video: its pictures (or a movie file), its masks and what is known of its objects."""

    name: str
    layers: tuple[Layer, ...]
    pictures: tuple[Path, ...] = ()  # one file a frame, in order
    movie: Path | None = None
    objects: tuple[ObjectEntry, ...] = ()
    group: Group = Group.NONE
    size: tuple[int, int] | None = None  # (H, W), where the metadata says it
    frame_count: int | None = None  # annotated frames, where the metadata says it
    # Inclusive first and last frame number by segment name (SeCVOS).
    segments: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as found on disk. `fps` is the rate of its pictures; None where unknown."""

    benchmark: Benchmark
    source: Source
    videos: tuple[VideoEntry, ...]
    fps: float | None
    truth_is_complete: bool = True  # False: only the masks that prompt each object

    def named(self, names: set[str]) -> "Dataset":
        """The same dataset with only these videos."""
        kept = tuple(video for video in self.videos if video.name in names)
        return Dataset(self.benchmark, self.source, kept, self.fps, self.truth_is_complete)
