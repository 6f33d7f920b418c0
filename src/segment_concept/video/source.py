"""What a video is to the rest of the package: frames, in order and from anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

from segment_concept.types import Frame, InputError


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """The sound of a video, and the moment in it that belongs to the first frame."""

    address: str
    starts: Fraction  # seconds on the file's own clock


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties of a video that are known before it is read."""

    size: tuple[int, int]  # (H, W), upright
    rate: Fraction  # frames a second, on average
    time_base: Fraction  # all presentation times are multiples of it, in seconds
    frames: int | None = None  # how many there are, damaged ones included
    pixel_aspect: Fraction = Fraction(1)  # width of a pixel over its height
    sound: AudioTrack | None = None
    live: bool = False  # frames come once, and when they like
    stored_size: tuple[int, int] | None = None  # (H, W) in the file, where it is shown otherwise
    incomplete: str | None = None  # what of the file is missing, in words

    @property
    def coordinates(self) -> str:
        """What prompts' pixels are of, in words, where it is not plain; else nothing."""
        if self.stored_size is None:
            return ""
        (height, width), (h, w) = self.size, self.stored_size
        return (
            f" (the file stores {w}x{h} pixels and is shown as {width}x{height}: coordinates and "
            "masks are those of the shown picture)"
        )


@runtime_checkable
class VideoSource(Protocol):
    """A video. Contract, held by one test suite over every source:

    a frame's index counts the video's frames from 0 in the order of presentation, however it is
    reached; a damaged frame keeps its index, is left out and warned of; memory does not grow with
    the length of the video. `seconds` count from the first frame.
    """

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def info(self) -> VideoInfo:
        """Size, rate and such."""
        ...

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames `start`, `start + 1`, ... to the end."""
        ...

    def backwards(self, start: int) -> Iterator[Frame]:
        """Frames `start`, `start - 1`, ... to 0."""
        ...

    def index_at(self, seconds: float) -> int:
        """The frame that is on screen at that moment.

        Raises:
            InputError: the video is over by then.
        """
        ...

    def frame_name(self, index: int) -> str:
        """Stem of the names of files of this frame."""
        ...


def frame_at(seconds: float, rate: Fraction) -> int:
    """The frame on screen at that moment if all frames last equally long."""
    return int(seconds * float(rate) + 1e-6)  # 0.12 s is the fourth frame at 25 a second


def frames_in_words(first: int, last: int) -> str:
    """`frame 7` or `frames 7 to 9`."""
    return f"frame {first}" if first == last else f"frames {first} to {last}"


def read_frame(source: VideoSource, index: int) -> Frame:
    """One frame.

    Raises:
        InputError: the video is shorter, or the frame is damaged.
    """
    frame = next(iter(source.frames(index)), None)
    if frame is None:
        raise InputError(
            f"there is no frame {index} in {source.name}{_length(source)}: frames count from 0"
        )
    if frame.index != index:
        raise InputError(
            f"frame {index} of {source.name} is damaged: show the object on another frame, "
            f"for example {frame.index}"
        )
    return frame


def _length(source: VideoSource) -> str:
    frames = source.info.frames
    return "" if frames is None else f", which has about {frames}"
