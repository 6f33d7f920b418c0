"""Options that `track` and `compare` share: the video, the prompts and the device."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from segment_concept.cli.prompt_options import (
    Boxes,
    Inverted,
    MaskColors,
    MaskFiles,
    MaskIds,
    Moments,
    ObjectNumbers,
    PointsOff,
    PointsOn,
    PromptsFile,
    VideoAddress,
)
from segment_concept.types import InputError

if TYPE_CHECKING:
    from fractions import Fraction

    from segment_concept.recipes.network_options import NetworkOptions
    from segment_concept.video.source import VideoSource

ADVANCED = "Advanced"
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Rate = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Frame rate of an image folder: 25, 23.976, 24000/1001. Default: 24.",
        rich_help_panel=ADVANCED,
    ),
]
LanguageDevice = Annotated[
    str | None,
    typer.Option(
        help="Device of SeC's language model. Default: same as --device.", rich_help_panel=ADVANCED
    ),
]
NumberType = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="Number type of SAM 2.1, EdgeTAM and SeC: bfloat16, float16 or float32. "
        "Default: bfloat16 on a GPU that computes with it, else float32.",
        rich_help_panel=ADVANCED,
    ),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        help="Input side of SAM 2.1, EdgeTAM and SeC (default 1024; 768 or 512 need less time and "
        "memory and find less detail), or short side of the compact model (default 448).",
        rich_help_panel=ADVANCED,
    ),
]
Compile = Annotated[
    str | None,
    typer.Option(
        "--compile",
        metavar="MODE",
        help="How SAM 2.1, EdgeTAM and SeC run: no, graphs (CUDA graphs on an NVIDIA GPU, the same "
        "as no elsewhere), or inductor (torch.compile: the first frames take minutes, the others "
        "less time). Default: auto, which is no.",
        rich_help_panel=ADVANCED,
    ),
]
EveryFrame = Annotated[
    str | None,
    typer.Option(
        "--every",
        metavar="MODE",
        help="Which frames are tracked: 1 for every frame, or auto: where a film is calm one "
        "in two to four, and masks are carried to those between by optical flow, which needs half "
        "of the time or less. Cameras and streams: always every frame. Default: the recipe's.",
        rich_help_panel=ADVANCED,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """The shared options.

    The prompt options are declared here for parsing and for the help; their meaning depends on
    their order on the command line, which `prompt_options.given_prompts` reads.
    """

    video: VideoAddress
    mask: MaskFiles = None
    mask_id: MaskIds = None
    mask_color: MaskColors = None
    invert: Inverted = False
    box: Boxes = None
    point: PointsOn = None
    background_point: PointsOff = None
    object_id: ObjectNumbers = None
    at: Moments = None
    prompts: PromptsFile = None
    device: Device = "auto"
    language_device: LanguageDevice = None
    dtype: NumberType = None
    size: InputSize = None
    compiled: Compile = None
    every: EveryFrame = None
    fps: Rate = None
    quiet: Quiet = False

    def source(self) -> "VideoSource":
        """Open the video. Raises InputError if that fails."""
        return opened_video(self.video, self.fps)

    @property
    def network(self) -> "NetworkOptions":
        """How the networks are to be run."""
        return network_options(self.dtype, self.size, self.compiled, self.every)


def network_options(
    dtype: str | None, size: int | None, compiled: str | None, every: str | None
) -> "NetworkOptions":
    """How the networks are to be run. Values are checked when they are applied to a recipe.

    Raises:
        InputError: `--every` is neither auto nor 1.
    """
    from segment_concept.recipes.network_options import NetworkOptions
    from segment_concept.recipes.recipe import Compiled, DType
    from segment_concept.tracking.api import Every

    frames: dict[str | None, Every | None] = {None: None, "auto": "auto", "1": 1}
    if every not in frames:
        raise InputError(f"--every {every}: expected 1 (every frame) or auto")
    return NetworkOptions(
        cast(DType | None, dtype), size, cast(Compiled | None, compiled), frames[every]
    )


def opened_video(video: str, fps: str | None) -> "VideoSource":
    """Open a video with the frame rate that `--fps` gives to a folder of images.

    Raises:
        InputError: it cannot be opened, or a rate is given for what has one of its own.
    """
    from segment_concept.video.open import open_video

    rate = frame_rate(fps)
    if rate is not None and not Path(video).is_dir():
        raise InputError(
            f"--fps is for folders of images, and {video} has a frame rate of its own: "
            "leave --fps out"
        )
    return open_video(video, rate=rate)


def frame_rate(fps: str | None) -> "Fraction | None":
    """Frames a second as a fraction. Raises InputError."""
    from segment_concept.video.open import parse_rate

    try:
        return None if fps is None else parse_rate(fps)
    except InputError as error:
        raise InputError(f"--fps {error}") from error


def takes_video_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `given: VideoOptions` of a command by one option per field."""
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
