"""Records of a dataset: videos, objects, and the location of their masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from segment_concept.datasets.masks import Layer


class Benchmark(str, Enum):
    """The supported datasets, and a plain folder of masks."""

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
    """Whether the training data has the object's category (YouTube-VOS) or the video's (LVOS)."""

    NONE = ""
    SEEN = "seen"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Source:
    """Location of a dataset and of files outside its folder.

    `truth` replaces the annotation folder (for datasets with the full annotations elsewhere);
    `unseen` is the list of unseen categories (YouTube-VOS) or unseen videos (LVOS).
    """

    root: Path
    split: str = "val"
    truth: Path | None = None
    unseen: Path | None = None


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """Metadata of one object."""

    name: str
    frames: tuple[str, ...] = ()  # frames listed in the metadata, in order
    category: str = ""
    group: Group = Group.NONE


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One video: its images (or a video file), masks, and metadata of its objects."""

    name: str
    layers: Sequence[Layer]
    pictures: tuple[Path, ...] = ()  # one file per frame, in order
    movie: Path | None = None
    objects: tuple[ObjectEntry, ...] = ()
    group: Group = Group.NONE
    size: tuple[int, int] | None = None  # (H, W), if the metadata has it
    frame_count: int | None = None  # annotated frames, if the metadata has it
    # Inclusive first and last frame number by segment name (SeCVOS).
    segments: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on disk. `fps` is the frame rate of its images; None if unknown."""

    benchmark: Benchmark
    source: Source
    videos: tuple[VideoEntry, ...]
    fps: float | None
    truth_is_complete: bool = True  # False: only the first mask of each object

    def named(self, names: set[str]) -> "Dataset":
        """The same dataset with only these videos."""
        videos = tuple(video for video in self.videos if video.name in names)
        return Dataset(self.benchmark, self.source, videos, self.fps, self.truth_is_complete)
