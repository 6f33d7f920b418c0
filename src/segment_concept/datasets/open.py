"""Open a dataset by name, and detect the type of a dataset folder."""

from collections.abc import Callable
from pathlib import Path

from segment_concept.datasets import layouts
from segment_concept.datasets.folders import folders_in, read_meta, split_folder, video_folders
from segment_concept.datasets.types import Benchmark, Dataset, Source
from segment_concept.types import InputError

LAYOUTS: dict[Benchmark, Callable[[Source, Benchmark], Dataset]] = {
    Benchmark.DAVIS2016: layouts.davis,
    Benchmark.DAVIS2017: layouts.davis,
    Benchmark.DAVIS2017_UNSUPERVISED: layouts.davis,
    Benchmark.YOUTUBE_VOS_2018: layouts.youtube_vos,
    Benchmark.YOUTUBE_VOS_2019: layouts.youtube_vos,
    Benchmark.MOSE: layouts.mose,
    Benchmark.MOSE2: layouts.mose,
    Benchmark.LVOS1: layouts.lvos,
    Benchmark.LVOS2: layouts.lvos,
    Benchmark.SA_V: layouts.sa_v,
    Benchmark.SECVOS: layouts.secvos,
    Benchmark.FOLDER: layouts.folder,
}
_LVOS1_LARGEST_SPLIT = 120  # videos; LVOS v2's splits have 420, 140 and 160


def open_dataset(benchmark: Benchmark, source: Source) -> Dataset:
    """Open a dataset; reads folder listings and metadata, but no image and no mask.

    Raises:
        InputError: the folder is not such a dataset; the message says what is missing.
    """
    return LAYOUTS[benchmark](source, benchmark)


def recognize_dataset(root: Path) -> Benchmark:
    """Detect the dataset type of a folder from characteristic files.

    For versions with the same layout (YouTube-VOS 2018 and 2019) the newer one is returned.

    Raises:
        InputError: the type is unknown.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder")
    for test in (_secvos, _sa_v, _davis, _by_metadata, _plain):
        found = test(root)
        if found is not None:
            return found
    raise InputError(
        f"{root} does not look like a dataset: expected DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, "
        "SeCVOS, or a folder with one subfolder of PNG masks per video"
    )


def _secvos(root: Path) -> Benchmark | None:
    return Benchmark.SECVOS if (root / "scene_info.json").is_file() else None


def _sa_v(root: Path) -> Benchmark | None:
    landmarks = ("Annotations_6fps", "JPEGImages_24fps", "sav_val", "sav_test")
    if any((root / name).is_dir() for name in landmarks):
        return Benchmark.SA_V
    has_masklets = any(root.glob("*_manual.json")) or any(root.glob("*/*_manual.json"))
    return Benchmark.SA_V if has_masklets else None


def _davis(root: Path) -> Benchmark | None:
    if (root / "ImageSets/2017").is_dir():
        return Benchmark.DAVIS2017
    if (root / "Annotations_unsupervised").is_dir() or (root / "ImageSets/2019").is_dir():
        return Benchmark.DAVIS2017_UNSUPERVISED
    resolutions = ("480p", "1080p", "Full-Resolution")
    has_masks = any((root / "Annotations" / name).is_dir() for name in resolutions)
    return Benchmark.DAVIS2016 if has_masks or (root / "ImageSets/2016").is_dir() else None


def _by_metadata(root: Path) -> Benchmark | None:
    for name in ("val", "test", "train"):
        folder = split_folder(root, name)
        if (folder / "valid_meta.json").is_file():
            return _lvos_version(folder / "valid_meta.json")
        if (folder / "meta.json").is_file():
            return _kind_of_metadata(folder / "meta.json")
        if folder != root and _most_are_videos(folder / "Annotations"):
            return Benchmark.MOSE
    return None


def _lvos_version(path: Path) -> Benchmark:
    count = len(read_meta(path))
    return Benchmark.LVOS2 if count > _LVOS1_LARGEST_SPLIT else Benchmark.LVOS1


def _kind_of_metadata(path: Path) -> Benchmark:
    has_lengths = any("length" in entry for entry in read_meta(path).values())
    return Benchmark.MOSE2 if has_lengths else Benchmark.YOUTUBE_VOS_2019


def _plain(root: Path) -> Benchmark | None:
    found = _most_are_videos(root / "Annotations") or _most_are_videos(root)
    return Benchmark.FOLDER if found else None


def _most_are_videos(folder: Path) -> bool:
    return folder.is_dir() and 2 * len(video_folders(folder)) > len(folders_in(folder))
