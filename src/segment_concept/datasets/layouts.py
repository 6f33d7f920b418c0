"""The folder layouts of the datasets: one function per layout, from `Source` to `Dataset`."""

from pathlib import Path
from typing import Any

from segment_concept.datasets.folders import (
    folders_in,
    layers_of,
    masks_folder,
    pictures_in,
    read_lines,
    read_meta,
    read_names,
    require,
    split_folder,
)
from segment_concept.datasets.masklets import MaskletLayers
from segment_concept.datasets.masks import PngLayer
from segment_concept.datasets.types import (
    Benchmark,
    Dataset,
    Group,
    ObjectEntry,
    Source,
    VideoEntry,
)
from segment_concept.runtime.json_files import read_json
from segment_concept.types import InputError

_DAVIS_MASKS = (
    "Annotations/480p",
    "Annotations/Full-Resolution",
    "Annotations/1080p",
    "Annotations",
    ".",
)
_DAVIS_FPS = 24.0
_YOUTUBE_FPS = 6.0  # every fifth frame of 30 fps
_MOSE_FPS = 5.0
_LVOS_FPS = 6.0  # every fifth frame of 30 fps
_LVOS_STEP = 5
_LAST_LVOS_FRAME = 10**8 - 1  # names have eight digits
_SAV_FPS = 24.0
_SEGMENTS = ("first_segment", "second_segment", "remain_segments")


def davis(source: Source, benchmark: Benchmark) -> Dataset:
    """DAVIS 2016, and 2017 for both of its tasks.

    Annotations/480p/<video>/00000.png; ImageSets/<year>/<split>.txt names the videos. In a
    2016 mask every value except 0 is the same object.
    """
    unsupervised = benchmark is Benchmark.DAVIS2017_UNSUPERVISED
    unsupervised_masks = (
        ("Annotations_unsupervised/480p", "Annotations_unsupervised/Full-Resolution")
        if unsupervised
        else ()
    )
    masks = masks_folder(source.root, unsupervised_masks + _DAVIS_MASKS, source.truth, "DAVIS")
    names = _davis_names(source, benchmark, masks)
    pictures = source.root / "JPEGImages" / masks.name
    single = "1" if benchmark is Benchmark.DAVIS2016 else ""
    videos = tuple(
        VideoEntry(name, (PngLayer(masks / name, single),), pictures_in(pictures / name))
        for name in names
    )
    return _dataset(benchmark, source, videos, _DAVIS_FPS)


def _davis_names(source: Source, benchmark: Benchmark, masks: Path) -> list[str]:
    year = "2016" if benchmark is Benchmark.DAVIS2016 else "2017"
    if benchmark is Benchmark.DAVIS2017_UNSUPERVISED and (source.root / "ImageSets/2019").is_dir():
        year = "2019"
    sets = source.root / "ImageSets" / year
    if not sets.is_dir():
        return folders_in(masks)
    path = sets / f"{source.split}.txt"
    if not path.is_file():
        available = ", ".join(sorted(p.stem for p in sets.glob("*.txt"))) or "none"
        raise InputError(f"{sets} has no list of split {source.split!r}; available: {available}")
    names = read_names(path)
    require(names, masks, path)
    return names


def youtube_vos(source: Source, benchmark: Benchmark) -> Dataset:
    """YouTube-VOS 2018 and 2019: <split>/Annotations/<video>/00000.png and meta.json.

    The public masks of `valid` and `test` are only the first of each object; `source.truth` is the
    folder of the full ones. Unseen categories come from `source.unseen`, else they are those that
    are not in train/meta.json.
    """
    folder = split_folder(source.root, source.split)
    meta = read_meta(folder / "meta.json")
    masks = source.truth or folder / "Annotations"
    require(sorted(meta), masks, folder / "meta.json")
    unseen = _unseen_categories(source, meta)
    videos = tuple(
        VideoEntry(
            name,
            (PngLayer(masks / name),),
            pictures_in(folder / "JPEGImages" / name),
            objects=tuple(
                _youtube_object(key, entry, unseen) for key, entry in _objects(meta, name).items()
            ),
        )
        for name in sorted(meta)
    )
    return _dataset(benchmark, source, videos, _YOUTUBE_FPS)


def _objects(meta: dict[str, dict[str, Any]], video: str) -> dict[str, Any]:
    objects = meta[video].get("objects")
    if not isinstance(objects, dict):
        raise InputError(f'the metadata of video {video} has no "objects"')
    for name, entry in objects.items():
        if not isinstance(entry, dict):
            raise InputError(
                f"the metadata of video {video} describes object {name[:40]!r} by "
                f"{repr(entry)[:40]}: expected an object with its frames"
            )
    return objects


def _youtube_object(name: str, entry: dict[str, Any], unseen: set[str] | None) -> ObjectEntry:
    category = str(entry.get("category", ""))
    listed = entry.get("frames", ())
    if not isinstance(listed, list | tuple):
        raise InputError(
            f"the metadata of object {name[:40]!r} has {repr(listed)[:40]} as its frames: "
            "expected a list of names"
        )
    frames = tuple(str(frame) for frame in listed)
    if unseen is None:
        return ObjectEntry(name, frames, category)
    return ObjectEntry(name, frames, category, Group.UNSEEN if category in unseen else Group.SEEN)


def _unseen_categories(source: Source, meta: dict[str, dict[str, Any]]) -> set[str] | None:
    if source.unseen is not None:
        if source.unseen.suffix == ".json":
            content = read_json(source.unseen)
            found = content.get("unseen_categories") if isinstance(content, dict) else None
            if not isinstance(found, list):
                raise InputError(
                    f'{source.unseen} has no list "unseen_categories": give a text file with one '
                    "category per line, or that list"
                )
            return {str(category) for category in found}
        return set(read_lines(source.unseen))
    for training in (source.root / "train/meta.json", source.root.parent / "train/meta.json"):
        if training.is_file():
            return _categories(meta) - _categories(read_meta(training))
    return None


def _categories(meta: dict[str, dict[str, Any]]) -> set[str]:
    return {str(o.get("category", "")) for v in meta for o in _objects(meta, v).values()}


def mose(source: Source, benchmark: Benchmark) -> Dataset:
    """MOSE v1 and v2: <split>/Annotations/<video>/00000.png; v2 has meta.json with the objects.

    The public `valid` has only the masks of frame 0; `source.truth` is the folder of the full ones.
    """
    folder = split_folder(source.root, source.split)
    masks = masks_folder(folder, ("Annotations",), source.truth, "MOSE")
    if benchmark is Benchmark.MOSE:
        videos = [
            VideoEntry(n, (PngLayer(masks / n),), pictures_in(folder / "JPEGImages" / n))
            for n in folders_in(masks)
        ]
        return _dataset(benchmark, source, tuple(videos), _MOSE_FPS)
    path = folder / "meta.json"
    meta = read_meta(path if path.is_file() else source.root / "meta.json")
    require(sorted(meta), masks, path)
    entries = (_mose_video(name, meta[name], folder, masks, path) for name in sorted(meta))
    return _dataset(benchmark, source, tuple(entries), _MOSE_FPS)


def _mose_video(
    name: str, entry: dict[str, Any], folder: Path, masks: Path, meta: Path
) -> VideoEntry:
    try:
        size = (int(entry["height"]), int(entry["width"]))
        count = int(entry["length"])
        objects = tuple(ObjectEntry(str(key)) for key in entry["objects"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{meta}: video {name} needs length, height, width and objects ({error})"
        ) from error
    pictures = pictures_in(folder / "JPEGImages" / name)
    return VideoEntry(
        name, (PngLayer(masks / name),), pictures, objects=objects, size=size, frame_count=count
    )


def lvos(source: Source, benchmark: Benchmark) -> Dataset:
    """LVOS v1 and v2: Annotations/<video>/00000001.png, every fifth number, and valid_meta.json.

    Unseen videos are listed in unseen_videos.txt; the lists of v1 and v2 differ.
    """
    folder = split_folder(source.root, source.split)
    candidates = [parent / "valid_meta.json" for parent in (folder, source.root)]
    path = next((p for p in candidates if p.is_file()), candidates[0])
    meta = read_meta(path)
    masks = masks_folder(folder, ("Annotations",), source.truth, "LVOS")
    require(sorted(meta), masks, path)
    unseen = _unseen_videos(source, folder)
    videos = tuple(
        VideoEntry(
            name,
            (PngLayer(masks / name),),
            pictures_in(folder / "JPEGImages" / name),
            objects=tuple(
                _lvos_object(name, key, entry) for key, entry in _objects(meta, name).items()
            ),
            group=Group.NONE
            if unseen is None
            else (Group.UNSEEN if name in unseen else Group.SEEN),
        )
        for name in sorted(meta)
    )
    return _dataset(benchmark, source, videos, _LVOS_FPS)


def _unseen_videos(source: Source, folder: Path) -> set[str] | None:
    if source.unseen is not None:
        return set(read_names(source.unseen))
    for parent in (folder, source.root):
        if (parent / "unseen_videos.txt").is_file():
            return set(read_names(parent / "unseen_videos.txt"))
    return None


def _lvos_object(video: str, name: str, entry: dict[str, Any]) -> ObjectEntry:
    """The frames of an object, including the first and the last."""
    try:
        span = entry["frame_range"]
        start, end, count = (int(span[key]) for key in ("start", "end", "frame_nums"))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"video {video}, object {name}: frame_range needs start, end and frame_nums ({error})"
        ) from error
    length = len(range(start, end, _LVOS_STEP)) + 1  # check before a list of this length is made
    if length != count or (end - start) % _LVOS_STEP or not 0 <= start <= end <= _LAST_LVOS_FRAME:
        raise InputError(
            f"video {video}, object {name}: frame_range goes from {start} to {end} in steps of "
            f"{_LVOS_STEP}, which is {length} frames, but frame_nums says {count}; "
            "the official tool cannot score this either: correct valid_meta.json"
        )
    numbers = [*range(start, end, _LVOS_STEP), end]
    return ObjectEntry(name, tuple(f"{number:08d}" for number in numbers))


def sa_v(source: Source, benchmark: Benchmark) -> Dataset:
    """SA-V. `val` and `test`: Annotations_6fps/<video>/<object>/00000.png with 24 fps images.

    `train`: <video>.mp4 with run-length masks in <video>_manual.json and <video>_auto.json, which
    are opened when they are needed.
    """
    if source.split == "train":
        return _sa_v_train(source, benchmark)
    root = source.root / f"sav_{source.split}"
    root = root if root.is_dir() else source.root
    masks = masks_folder(root, ("Annotations_6fps", "Annotations", "."), source.truth, "SA-V")
    path = root / f"sav_{source.split}.txt"
    names = read_names(path) if path.is_file() else folders_in(masks)
    require(names, masks, path)
    pictures = root / "JPEGImages_24fps"
    videos = tuple(
        VideoEntry(name, layers_of(masks / name), pictures_in(pictures / name)) for name in names
    )
    return _dataset(benchmark, source, videos, _SAV_FPS)


def _sa_v_train(source: Source, benchmark: Benchmark) -> Dataset:
    movies = sorted(source.root.rglob("*.mp4"))
    if not movies:
        raise InputError(f"{source.root} has no .mp4 file: expected SA-V training videos")
    videos = []
    for movie in movies:
        files = [movie.with_name(f"{movie.stem}_{kind}.json") for kind in ("manual", "auto")]
        layers = MaskletLayers([file for file in files if file.is_file()])
        videos.append(VideoEntry(movie.stem, layers, movie=movie))
    return _dataset(benchmark, source, tuple(videos), _SAV_FPS)


def secvos(source: Source, benchmark: Benchmark) -> Dataset:
    """SeCVOS: Annotations/<video>/<object>/00000.png, scene_info.json, video_id.txt."""
    masks = masks_folder(source.root, ("Annotations", "gt", "."), source.truth, "SeCVOS")
    path = source.root / "video_id.txt"
    names = read_names(path) if path.is_file() else folders_in(masks)
    require(names, masks, path)
    info = source.root / "scene_info.json"
    scenes = _scenes(info) if info.exists() else {}
    pictures = source.root / "JPEGImages"
    videos = tuple(
        VideoEntry(
            name,
            layers_of(masks / name),
            pictures_in(pictures / name),
            segments=_segments(scenes.get(name, {}), name, info),
        )
        for name in names
    )
    return _dataset(benchmark, source, videos, None)


def _scenes(info: Path) -> dict[str, dict[str, Any]]:
    content = read_json(info)
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise InputError(
            f"{info} is not a SeCVOS file: expected {{VIDEO: {{SEGMENT: [first, last]}}}}"
        )
    return content


def _segments(entry: dict[str, Any], video: str, info: Path) -> dict[str, tuple[int, int]]:
    segments = {}
    for key in _SEGMENTS:
        limits = entry.get(key) or []
        if not limits:
            continue
        try:
            first, last = (int(limit) for limit in limits)
        except (OverflowError, TypeError, ValueError) as error:
            raise InputError(
                f"{info}: {key} of video {video} is {limits!r}, expected [first, last]"
            ) from error
        segments[key] = (first, last)
    return segments


def folder(source: Source, benchmark: Benchmark) -> Dataset:
    """Any folder with one folder per video, of label maps or with a folder per object."""
    masks = masks_folder(source.root, ("Annotations", "."), source.truth, "the truth")
    pictures = source.root / "JPEGImages"
    videos = tuple(
        VideoEntry(name, layers_of(masks / name), pictures_in(pictures / name))
        for name in folders_in(masks)
    )
    return _dataset(benchmark, source, videos, None)


def _dataset(
    benchmark: Benchmark, source: Source, videos: tuple[VideoEntry, ...], fps: float | None
) -> Dataset:
    if not videos:
        raise InputError(f"{source.root} has no video of split {source.split!r}")
    return Dataset(benchmark, source, videos, fps, any(_has_truth(video) for video in videos))


def _has_truth(video: VideoEntry) -> bool:
    """Whether there are more masks than the first one of each object."""
    annotated = {frame for layer in video.layers for frame in layer.frames}
    promised = {frame for entry in video.objects for frame in entry.frames}
    return len(annotated) > 1 and promised <= annotated
