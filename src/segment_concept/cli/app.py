"""The command line as a whole. Only the module of the requested command is imported."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import segment_concept

# Command -> the module of this folder whose `register(app)` adds it, and its one-line help.
COMMANDS = {
    "track": ("track", "Track objects through a video from a mask, a box or points."),
    "export": ("export", "Write other outputs of a finished run without tracking again."),
    "demo": ("demo", "Track a rabbit through a clip with two hard cuts."),
    "web": ("web", "Prompt, track, review and correct in a browser."),
    "compare": ("compare", "Track with several recipes; write a side-by-side video."),
    "recipes": ("doctor", "List the recipes with their weights, size and license."),
    "doctor": ("doctor", "Check the installation and show the memory each recipe needs."),
    "evaluate": ("evaluate", "Run a recipe on a dataset, score it and write a report."),
    "score": ("score", "Score masks on disk with a benchmark's own protocol."),
    "report": ("report", "Print the report of a run, or compare several runs."),
    "dataset": ("dataset", "Check a dataset, print statistics, make multi-shot clips."),
    "convert": ("convert", "Convert SeC weights to one folder with tokenizer and hashes."),
    "train": ("train", "Train the compact model, or SeC on SA-V."),
}


class _Commands(TyperGroup):
    """Commands known by name and help text; a module is imported when its command is used."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        for name, (_, what) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=what)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that was given."""
        if args[0] in COMMANDS:
            self.commands[args[0]] = command(args[0])
        return super().resolve_command(ctx, args)


def command(name: str) -> Any:
    """Import and return a command or a group of commands."""
    group = typer.Typer(callback=lambda: None)
    import_module(f"segment_concept.cli.{COMMANDS[name][0]}").register(group)
    return get_group(group).commands[name]


def make_app() -> typer.Typer:
    """Build the command line with all commands."""
    app = typer.Typer(
        name="segment-concept",
        cls=_Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segment-concept {segment_concept.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Prompt an object once and get its mask in every frame of a video, across hard cuts."""
