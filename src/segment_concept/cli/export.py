"""`segment-concept export`: other outputs of a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors, say
from segment_concept.cli.track import OUTPUTS, saved
from segment_concept.cli.video_options import Rate, opened_video


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The --out folder of `track`.")],
    save: Annotated[
        str, typer.Option("--save", "-s", help=f"Comma-separated list of outputs: {OUTPUTS}.")
    ],
    video: Annotated[
        str | None,
        typer.Option(help="The video that was tracked; only overlay and matte need it."),
    ] = None,
    fps: Rate = None,
) -> None:
    """Write other outputs of a finished run; nothing is tracked again.

    \b
    segment-concept export film_tracked --save rle,explain
    segment-concept export film_tracked --save overlay --video film.mp4

    A matte that is made so has hard edges: runs record masks, not soft edges.

    Exit codes: 0 done, 2 invalid input.
    """
    with plain_errors():
        from segment_concept.pipeline.export import export_outputs

        source = None if video is None else opened_video(video, fps)
        made = export_outputs(run, saved(save), source)
    if made:
        say(f"wrote {', '.join(kind.value for kind in made)} to {run}")
    else:
        say(f"{run} has all of these outputs already")


def register(app: typer.Typer) -> None:
    """Add `export` to the command line."""
    app.command("export")(export)
