"""`segment-concept web`: the page."""

from pathlib import Path
from typing import Annotated

import typer

from segment_concept.cli.console import plain_errors, say
from segment_concept.cli.track import DEFAULT_RECIPE, RecipeName
from segment_concept.cli.video_options import Device
from segment_concept.types import InputError

NETWORK = "Network"


def web(
    media: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE|FOLDER]", help="A video, or a folder to choose one from."),
    ] = None,
    recipe: RecipeName = DEFAULT_RECIPE,
    device: Device = "auto",
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder that the page may browse. Default: that of FILE."
        ),
    ] = None,
    projects: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to keep projects. Default: beside each video."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    end_after: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            help="End so long after the last page was closed; 0 for never.",
        ),
    ] = 10.0,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="0 for any free port.", rich_help_panel=NETWORK),
    ] = 0,
    host: Annotated[
        str,
        typer.Option(
            help="Where to listen. Others than this machine need --token.", rich_help_panel=NETWORK
        ),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|auto",
            help="The secret that the page needs: from a file, or a new one.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A further name of this server, as a proxy calls it. Repeatable.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
) -> None:
    """Prompt, track, review and correct in a browser, on this machine.

    \b
    segment-concept web film.mp4
    segment-concept web films/

    Projects are folders beside the videos (film.mp4.sc), saved at every step. Ctrl-C ends the
    server; tracking goes on when the project is opened again.

    Exit codes: 0 done, 2 invalid input.
    """
    with plain_errors():
        try:
            from segment_concept.web.server import ServerOptions, read_token, run_server
            from segment_concept.web.workspace import Settings
        except ImportError as error:
            raise InputError(
                f"the page needs packages that are missing ({error.name}): install "
                "segment-concept[web]"
            ) from error

        server = ServerOptions(
            host=host,
            port=port,
            token=read_token(token),
            allowed=tuple(name.lower() for name in allow_host or ()),
            opens_browser=browser,
            ends_after=60 * end_after if end_after > 0 else None,
        )
        if not server.is_local and token is None:
            raise InputError(
                f"--host {host} lets others on the network reach the page: add --token auto, and "
                "put a proxy with TLS in front"
            )
        if not server.is_local:
            say(f"warning: everyone who reaches {host} and has the token can read and write below")
            say(f"{(root or media or Path()).resolve()}; the connection is not encrypted")
        found = (media or Path()).resolve()
        if not found.exists():
            raise InputError(f"there is no {media}: give a video, or a folder")
        opens = found if media is not None and is_video(found) else None
        settings = Settings(
            root=(root or (found.parent if opens else found)).resolve(),
            projects=projects,
            recipe=recipe,
            device=device,
        )
        run_server(settings, server, opens, say)


def is_video(path: Path) -> bool:
    """Whether a path is a video or a folder of images, rather than a folder of videos."""
    from segment_concept.video.image_files import SUFFIXES

    return path.is_file() or any(entry.suffix.lower() in SUFFIXES for entry in path.iterdir())


def register(app: typer.Typer) -> None:
    """Add `web` to the command line."""
    app.command("web")(web)
