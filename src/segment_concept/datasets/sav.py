"""SA-V's training videos by random access: some frames and some masks of any video.

Videos have 24 frames a second, and every fourth is annotated: row i of an annotation is frame 4 i.
Of a folder only names are read until a video is needed.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segment_concept.datasets.folders import read_lines
from segment_concept.datasets.masklets import ROW_STEP, Masklets, read_masklets
from segment_concept.datasets.masks import read_picture
from segment_concept.runtime.byte_cache import ByteCache
from segment_concept.types import Image, InputError
from segment_concept.video.video_file import VideoFile

ANNOTATION, MOVIE = "_manual.json", ".mp4"
PICTURE = ".jpg"  # of extracted frames: FRAMES/<video>/%05d.jpg, named by the frame at 24 fps
HELD_OUT = 100  # one video in so many never trains
_NAMED = 5  # videos in a message


@dataclass(frozen=True, slots=True)
class SavVideo:
    """Where a video's parts are; at least one of `movie` and `frames` is there."""

    name: str
    masklets: Path
    movie: Path | None = None
    frames: Path | None = None  # folder of extracted frames


def is_held_out(name: str) -> bool:
    """Whether a video is for validation: sha256 of its name is a multiple of 100."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT == 0


def find_videos(root: Path, frames: Path | None = None) -> dict[str, SavVideo]:
    """The videos of a folder with their annotations, by name, wherever they lie in it.

    Args:
        root: the folder as it was downloaded, or parts of it.
        frames: folder of frames that were extracted (`train frames`).

    Raises:
        InputError: there is no video with an annotation.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: expected SA-V's training videos")
    movies, annotations = _walk(root)
    extracted = _extracted(frames)
    videos = {
        name: SavVideo(name, path, movies.get(name), extracted.get(name))
        for name, path in sorted(annotations.items())
        if name in movies or name in extracted
    }
    if not videos:
        raise InputError(
            f"{root} has *{MOVIE}: {len(movies)}, *{ANNOTATION}: {len(annotations)}, "
            "but no video with both: expected SA-V's training videos with their annotations"
        )
    return videos


def _walk(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Paths of videos and annotations by the name of the video."""
    movies: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            if name.endswith(ANNOTATION):
                annotations[name.removesuffix(ANNOTATION)] = Path(folder, name)
            elif name.endswith(MOVIE):
                movies[name.removesuffix(MOVIE)] = Path(folder, name)
    return movies, annotations


def _extracted(frames: Path | None) -> dict[str, Path]:
    if frames is None:
        return {}
    if not frames.is_dir():
        raise InputError(f"{frames} is not a folder: make it with `segment-concept train frames`")
    return {entry.name: Path(entry.path) for entry in os.scandir(frames) if entry.is_dir()}


def chosen(videos: Mapping[str, SavVideo], names: Iterable[str], source: Path) -> list[SavVideo]:
    """The named videos, in the order of a list.

    Raises:
        InputError: some are not in the folder.
    """
    names = list(names)
    missing = [name for name in names if name not in videos]
    if missing:
        more = ", ..." if len(missing) > _NAMED else ""
        raise InputError(
            f"{len(missing)} of the {len(names)} videos in {source} are not in the data, or have "
            f"no annotation: {', '.join(missing[:_NAMED])}{more}. Download them, or take them off "
            "the list"
        )
    return [videos[name] for name in names]


def read_video_list(path: Path) -> list[str]:
    """Names of videos, one a line.

    Raises:
        InputError: the file is missing or empty, or names a video twice.
    """
    names = read_lines(path)
    if not names:
        raise InputError(f"{path} names no video")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} names {name} {count} times")
    return names


def read_object_list(path: Path) -> list[tuple[str, int]]:
    """Objects as (video, column), one a line.

    Raises:
        InputError: the file is missing or empty, or a line is none.
    """
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        name, _, column = line.rpartition(" ")
        if not name or not column.isdigit():
            raise InputError(f"{path}, line {number}: {line[:80]!r} is not a video and a number")
        found.append((name.strip(), int(column)))
    if not found:
        raise InputError(f"{path} names no object")
    return found


class SavReader:
    """Frames and masks of videos, with what was read last kept. One for each worker process.

    Args:
        kept: bytes of pixels to keep.
        whole: decode all annotated frames of a video at once, for trainings that ask for several
            of its objects one after the other. Not used for extracted frames.
    """

    def __init__(self, kept: int = 1 << 29, *, whole: bool = False) -> None:
        self._pixels: ByteCache[Image] = ByteCache(kept)
        self._files: ByteCache[VideoFile] = ByteCache(4)  # videos; an index is small
        self._checked: dict[str, str | None] = {}
        self._whole = whole

    def masklets(self, video: SavVideo) -> Masklets:
        """The annotation of a video, which fits its frames.

        Raises:
            InputError: the annotation is damaged or of another video.
        """
        found = read_masklets(video.masklets)
        if video.name not in self._checked:
            self._checked[video.name] = self._contradiction(video, found)
        wrong = self._checked[video.name]
        if wrong is not None:
            raise InputError(wrong)
        return found

    def _contradiction(self, video: SavVideo, masklets: Masklets) -> str | None:
        """What does not fit between annotation and video."""
        height, width = masklets.size
        rows = len(masklets.rows)
        if video.frames is None:
            info = self._file(video).info
            if info.incomplete is not None:
                return f"{video.movie} is incomplete: {info.incomplete}"
            if info.size != (height, width):
                return (
                    f"{masklets.path} has masks of {width}x{height} pixels, but {video.movie} has "
                    f"{info.size[1]}x{info.size[0]}"
                )
            count = info.frames
        else:
            count = masklets.frame_count
        if count is not None and rows != -(-count // ROW_STEP):
            return (
                f"{masklets.path} has {rows} rows for the {count} frames of {video.name}: expected "
                f"{-(-count // ROW_STEP)}, one for every fourth frame"
            )
        return None

    def frames(self, video: SavVideo, indices: Sequence[int]) -> list[Image]:
        """(H, W, 3) RGB of frames, numbered at 24 a second, in the given order.

        Raises:
            InputError: a frame is missing or damaged.
        """
        found = {i: rgb for i in indices if (rgb := self._pixels.get((video.name, i))) is not None}
        missing = sorted(set(indices) - found.keys())
        if missing:
            read = self._extracted if video.frames is not None else self._decoded
            for index, rgb in read(video, missing):
                found[index] = self._pixels.put((video.name, index), rgb, rgb.nbytes)
        lost = [index for index in missing if index not in found]
        if lost:
            raise InputError(f"frame {lost[0]} of {video.movie} is missing or damaged")
        return [found[index] for index in indices]

    def each(self, video: SavVideo, indices: Sequence[int]) -> Iterator[Image]:
        """The same frames in ascending order, one after the other; none is kept."""
        read = self._extracted if video.frames is not None else self._decoded
        return (rgb for _, rgb in read(video, sorted(indices)))

    def _extracted(self, video: SavVideo, indices: Sequence[int]) -> Iterable[tuple[int, Image]]:
        assert video.frames is not None
        for index in indices:
            yield index, read_picture(video.frames / f"{index:05d}{PICTURE}")

    def _decoded(self, video: SavVideo, indices: Sequence[int]) -> Iterable[tuple[int, Image]]:
        file = self._file(video)
        if self._whole:
            indices = range(0, file.info.frames or indices[-1] + 1, ROW_STEP)
        return ((frame.index, frame.rgb) for frame in file.pick(indices))

    def _file(self, video: SavVideo) -> VideoFile:
        movie = video.movie
        assert movie is not None, "a video without extracted frames has a movie"
        return self._files.of(movie, lambda: (VideoFile(movie, threads=1), 1))
