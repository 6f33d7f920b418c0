"""`segment-concept demo`: the bundled clip, tracked with the bundled model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from segment_concept.cli.console import STOPPED, plain_errors, say
from segment_concept.cli.track import DEFAULT_RECIPE, RecipeName, if_exists, run, tell
from segment_concept.cli.video_options import Device, Quiet


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder.")
    ] = Path("demo_output"),
    recipe: RecipeName = DEFAULT_RECIPE,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Track a rabbit through a clip with two hard cuts (Big Buck Bunny, CC BY 3.0).

    \b
    segment-concept demo --out demo_output

    The clip and the model are part of the package: nothing is downloaded. Writes DIR/overlay.mp4,
    DIR/palette/*.png and DIR/result.json, and prints what was found in each shot.
    """
    with plain_errors(), as_file(files("segment_concept") / "assets" / "demo") as folder:
        from segment_concept.pipeline.prompts import read_prompts
        from segment_concept.pipeline.track import TrackJob
        from segment_concept.recipes import find_recipe
        from segment_concept.video.open import open_video

        job = TrackJob(
            source=open_video(folder / "demo.mp4"),
            prompts=tuple(read_prompts(folder / "prompts.json")),
            out=out,
            if_exists=if_exists(resume=resume, overwrite=overwrite),
        )
        cuts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))["cuts"]
        summary = run(job, find_recipe(recipe), device, quiet=quiet)
    if not summary.finished:
        tell(summary)
        raise typer.Exit(STOPPED)
    if not quiet:
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
        Console().print(shot_table(result["frames"], cuts))
        if summary.stepped:
            say(
                f"{summary.stepped} frames in {summary.seconds:.1f} s ({summary.rate:.1f} frames/s)"
            )
        say(f"watch {out / 'overlay.mp4'}; masks are in {out / 'palette'}")


def shot_table(frames: Sequence[Mapping[str, Any]], cuts: Sequence[int]) -> Table:
    """Every object's scores in every shot. `cuts` are the first frames of new shots."""
    table = Table(box=None, pad_edge=False)
    for column in ("shot", "frames", "from", "object", "seen", "presence", "quality"):
        table.add_column(column, justify="right")
    for number, shot in enumerate(_shots(frames, cuts), start=1):
        for object_id in shot[0]["objects"]:
            scores = [frame["objects"][object_id] for frame in shot]
            table.add_row(
                str(number),
                str(len(shot)),
                f"{shot[0]['seconds']:.2f} s",
                object_id,
                f"{sum(s['area'] > 0 for s in scores)} of {len(scores)}",
                f"{sum(s['presence'] for s in scores) / len(scores):.2f}",
                f"{sum(s['quality'] for s in scores) / len(scores):.2f}",
            )
    return table


def _shots(
    frames: Sequence[Mapping[str, Any]], cuts: Sequence[int]
) -> Iterator[Sequence[Mapping[str, Any]]]:
    edges = [0, *cuts, frames[-1]["frame"] + 1]
    for first, end in pairwise(edges):
        shot = [frame for frame in frames if first <= frame["frame"] < end]
        if shot:
            yield shot


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""
    app.command("demo")(demo)
