"""What `track` and `compare` both ask for: a video, objects shown on it, and where to compute."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from segment_concept.cli.prompt_options import (
    Boxes,
    MaskFiles,
    Moments,
    ObjectNumbers,
    PointsOff,
    PointsOn,
    PromptsFile,
    VideoAddress,
)
from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.video.source import VideoSource

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Rate = Annotated[
    float | None, typer.Option(help="Frames a second of a folder of images; 24 where left out.")
]
LanguageDevice = Annotated[
    str | None, typer.Option(help="Where SeC's language model goes, if not to the same device.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """The options themselves. Those that show objects are here to be known and helped with.

    What they say depends on their order: `prompt_options.given_prompts` reads them.
    """

    video: VideoAddress
    mask: MaskFiles = None
    box: Boxes = None
    point: PointsOn = None
    not_point: PointsOff = None
    object_id: ObjectNumbers = None
    at: Moments = None
    prompts: PromptsFile = None
    device: Device = "auto"
    language_device: LanguageDevice = None
    fps: Rate = None
    quiet: Quiet = False

    def source(self) -> "VideoSource":
        """The video. Raises InputError where it cannot be opened."""
        from segment_concept.video.open import open_video

        return open_video(self.video, rate=frame_rate(self.fps))


def frame_rate(fps: float | None) -> Fraction | None:
    """Frames a second as a fraction. Raises InputError."""
    if fps is None:
        return None
    if not 0 < fps <= 1000:
        raise InputError(f"--fps {fps:g}: expected more than 0 and at most 1000")
    return Fraction(fps).limit_denominator(1001)


def takes_video_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `given: VideoOptions` becomes all of its fields, in its place."""
    hints = get_type_hints(VideoOptions, include_extras=True)
    shared = {
        field.name: inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(VideoOptions)
    }
    own = inspect.signature(command).parameters.values()
    at = [parameter.name for parameter in own].index("given")
    others = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters = [*others[:at], *shared.values(), *others[at + 1 :]]

    @wraps(command)
    def spread(**values: Any) -> None:
        given = VideoOptions(**{name: values.pop(name) for name in shared})
        command(given=given, **values)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {p.name: p.annotation for p in parameters}
    return spread
