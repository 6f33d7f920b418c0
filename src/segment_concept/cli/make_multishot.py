"""`segment-concept dataset make-multishot`: make clips with hard cuts and exact truth."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segment_concept.cli.console import plain_errors, progress_bar, say
from segment_concept.cli.dataset_options import Kind, Truth
from segment_concept.cli.dataset_options import Split as DatasetSplit
from segment_concept.datasets.multishot import (
    AppearanceDistractors,
    Followed,
    MultishotJob,
    MultishotPlan,
    MultishotSpec,
    RandomDistractors,
    Span,
    Split,
    make_multishot,
    read_categories,
    refuse_used,
    sequences_of,
)
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.types import Source
from segment_concept.types import InputError

if TYPE_CHECKING:
    from segment_concept.datasets.multishot.distractors import DistractorSampler
    from segment_concept.datasets.types import Dataset

_OPTIONS = MultishotSpec()
_SHOWN = 5  # targets that were left out
_SHOTS, _PLACE = "Shots", "Re-framing and files"


class DistractorChoice(str, Enum):
    """How distractors are chosen without a file of categories."""

    AUTO = "auto"
    APPEARANCE = "appearance"
    RANDOM = "random"


def make_multishot_clips(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of an annotated dataset.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the clips.")],
    seed: Annotated[
        int, typer.Option(help="Random seed; the same seed gives the same files.")
    ] = _OPTIONS.seed,
    splits: Annotated[
        str, typer.Option(help="Comma-separated list of splits: none, single, multi.")
    ] = "none,single,multi",
    copies: Annotated[int, typer.Option(help="Clips per split and sequence.")] = _OPTIONS.copies,
    targets: Annotated[
        int | None, typer.Option(help="Number of randomly chosen target sequences. Default: all.")
    ] = None,
    objects: Annotated[
        Followed, typer.Option(help="Annotate the main object of each sequence, or all objects.")
    ] = _OPTIONS.objects,
    benchmark: Kind = None,
    split: DatasetSplit = "val",
    truth: Truth = None,
    categories: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help='Distractors by category: {"car": ["VIDEO", ...], ...}.'),
    ] = None,
    distractors_by: Annotated[
        DistractorChoice,
        typer.Option(
            help="How distractors are chosen without --categories. auto: by the dataset's own "
            "categories if it has any, otherwise by appearance."
        ),
    ] = DistractorChoice.AUTO,
    shots: Annotated[
        str,
        typer.Option(
            help="Shots of the target in clips of split multi: N or MIN-MAX.",
            rich_help_panel=_SHOTS,
        ),
    ] = "3",
    shot_frames: Annotated[
        str, typer.Option(help="Length of these shots, in frames.", rich_help_panel=_SHOTS)
    ] = "12-30",
    uncut_frames: Annotated[
        str,
        typer.Option(help="Length of the clips of split none, in frames.", rich_help_panel=_SHOTS),
    ] = "20-60",
    interludes: Annotated[
        float,
        typer.Option(
            help="Share of the gaps between target shots that are filled with another sequence.",
            rich_help_panel=_SHOTS,
        ),
    ] = _OPTIONS.interludes,
    interlude_frames: Annotated[
        str, typer.Option(help="Length of interludes, in frames.", rich_help_panel=_SHOTS)
    ] = "8-14",
    distractors: Annotated[
        float,
        typer.Option(help="Share of interludes that show distractors.", rich_help_panel=_SHOTS),
    ] = _OPTIONS.distractors,
    reframed: Annotated[
        float,
        typer.Option(
            help="Share of later shots that are re-framed (crop and color change).",
            rich_help_panel=_PLACE,
        ),
    ] = _OPTIONS.reframed,
    mirrored: Annotated[
        float,
        typer.Option(help="Share of re-framed shots that are mirrored.", rich_help_panel=_PLACE),
    ] = _OPTIONS.mirrored,
    zoom: Annotated[
        tuple[float, float],
        typer.Option(
            help="Crop size of re-framed shots, as a fraction of each side (min max).",
            rich_help_panel=_PLACE,
        ),
    ] = _OPTIONS.zoom,
    short_side: Annotated[
        int,
        typer.Option(
            help="Length of the shorter side, in pixels; smaller videos are not enlarged.",
            rich_help_panel=_PLACE,
        ),
    ] = _OPTIONS.short_side,
    jpeg_quality: Annotated[
        int, typer.Option(help="JPEG quality, 1 to 100.", rich_help_panel=_PLACE)
    ] = _OPTIONS.jpeg_quality,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Make clips with hard cuts and exact truth from annotated single-shot videos.

    Shots of a target are re-framed, mirrored and color-changed, with interludes of other sequences,
    in which the target is absent, between them. Use OUT as a dataset with `evaluate` and `score`.

    \b
    Splits: none    one shot
            single  two shots with a hard cut between them
            multi   several shots with interludes between them

    Exit codes: 0 done, 2 invalid input, 130 interrupted.
    """
    with plain_errors():
        spec = MultishotSpec(
            seed=seed,
            splits=_splits(splits),
            copies=copies,
            objects=objects,
            shots=_span("--shots", shots),
            shot_frames=_span("--shot-frames", shot_frames),
            uncut_frames=_span("--uncut-frames", uncut_frames),
            interludes=interludes,
            interlude_frames=_span("--interlude-frames", interlude_frames),
            distractors=distractors,
            reframed=reframed,
            mirrored=mirrored,
            zoom=zoom,
            short_side=short_side,
            jpeg_quality=jpeg_quality,
        )
        refuse_used(out)
        dataset = open_dataset(benchmark or recognize_dataset(data), Source(data, split, truth))
        sampler = _sampler(dataset, categories, distractors_by)
        job = MultishotJob(dataset, out, spec, sampler, targets)
        with progress_bar("cutting", quiet=quiet) as on_frame:
            plan = make_multishot(job, on_frame)
    _tell(plan, out)


def _splits(text: str) -> tuple[Split, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {split.value: split for split in Split}
    for name in names:
        if name not in known:
            raise InputError(f"--splits {name}: expected one or more of {', '.join(known)}")
    return tuple(split for split in Split if split.value in names)


def _span(option: str, text: str) -> Span:
    try:
        return Span.parse(text)
    except InputError as error:
        raise InputError(f"{option} {error}") from error


def _sampler(
    dataset: "Dataset", categories: Path | None, by: DistractorChoice
) -> "DistractorSampler | None":
    if categories is not None:
        if by is not DistractorChoice.AUTO:
            raise InputError("give either --categories or --distractors-by, not both")
        return read_categories(categories, sequences_of(dataset))
    made: dict[DistractorChoice, DistractorSampler] = {
        DistractorChoice.APPEARANCE: AppearanceDistractors(),
        DistractorChoice.RANDOM: RandomDistractors(),
    }
    return made.get(by)


def _tell(plan: MultishotPlan, out: Path) -> None:
    for name, split, why in plan.left_out[:_SHOWN]:
        say(f"warning: no {split.value} clip of {name}: {why}", err=True)
    if len(plan.left_out) > _SHOWN:
        say(f"warning: and {len(plan.left_out) - _SHOWN} more", err=True)
    counts = {split: sum(c.split is split for c in plan.clips) for split in Split}
    named = ", ".join(f"{n} {split.value}" for split, n in counts.items() if n)
    frames = sum(clip.frames for clip in plan.clips)
    say(f"{len(plan.clips)} clips ({named}) with {frames} frames: {out}")
