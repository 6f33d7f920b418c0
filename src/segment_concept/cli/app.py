"""The command line as a whole. Only the module of the command that is given is imported."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import segment_concept

# Of every command: the module of this folder whose `register(app)` adds it, and what it does.
COMMANDS = {
    "track": ("track", "Follow objects through a video, shown once by a mask, a box or points."),
    "demo": ("demo", "Follow a rabbit through a clip with two hard cuts."),
    "compare": ("compare", "Follow objects with several recipes: side by side, and a table."),
    "recipes": ("doctor", "List the recipes: which weights, how large, what for."),
    "doctor": ("doctor", "Check the installation and show the memory each recipe needs."),
    "evaluate": ("evaluate", "Predict a dataset with a recipe, score it and write a report."),
    "score": ("score", "Score masks on disk by a benchmark's own protocol."),
    "report": ("report", "Print a run's report, or compare several runs with the first."),
    "dataset": ("dataset", "Check a dataset, print its statistics, make multi-shot clips from it."),
    "convert": ("convert", "Convert SeC weights: one folder with weights, tokenizer and hashes."),
    "train": ("train", "Train the compact model."),
}


class _Commands(TyperGroup):
    """Commands that are known by name until one of them is wanted."""

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
    """The command itself, or the group."""
    group = typer.Typer(callback=lambda: None)
    import_module(f"segment_concept.cli.{COMMANDS[name][0]}").register(group)
    return get_group(group).commands[name]


def make_app() -> typer.Typer:
    """All commands."""
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
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Show an object once, get its mask in every frame of an edited video."""
