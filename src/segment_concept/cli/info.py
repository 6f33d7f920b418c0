"""`segment-concept recipes` and `segment-concept doctor`: what there is to work with."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import typer
from rich.console import Console
from rich.table import Table

from segment_concept.cli.memory import GIB, memory_table
from segment_concept.cli.terminal import plain_errors

PACKAGES = ("torch", "transformers", "numpy", "av", "opencv-python-headless", "Pillow")
UNSOUND = 1  # exit code of `doctor`


def versions() -> dict[str, str]:
    """Of this package, Python, and what it stands on; `missing` where it is not installed."""
    found = {"segment-concept": _own_version(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def recipes() -> None:
    """List the recipes: which weights, how large, what for."""
    from segment_concept.recipes import RECIPES

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "weights", "size", "licence", "for"):
        table.add_column(column, overflow="fold")
    for make in RECIPES.values():
        recipe = make()
        table.add_row(recipe.name, recipe.weights, recipe.size, recipe.licence, recipe.about)
    Console().print(table)


def doctor() -> None:
    """Say what this machine has, what is wrong with the installation, what the recipes need.

    Exit code 0: all is well. 1: something is missing.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in versions().items():
        table.add_row(name, text)
    table.add_row("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    table.add_row("processor", f"{os.cpu_count()} cores, {_memory()}")
    with plain_errors():
        for name, text in _devices():
            table.add_row(name, text)
        wrong = list(_faults())
        Console().print(table)
        if not wrong:
            typer.echo()
            Console().print(_needs())
    for fault in wrong:
        typer.echo(f"error: {fault}", err=True)
    if wrong:
        raise typer.Exit(UNSOUND)
    typer.echo("all is well")


def _own_version() -> str:
    import segment_concept

    return segment_concept.__version__


def _memory() -> str:
    there = _physical_memory()
    return "memory unknown" if there is None else f"{there / GIB:.1f} GiB of memory"


def _physical_memory() -> int | None:
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _needs() -> Table:
    """What the recipes need on the default device."""
    from segment_concept.checkpoints.build import find_device
    from segment_concept.checkpoints.room import free_bytes

    device = find_device()
    return memory_table(
        device, _physical_memory() if device.type == "cpu" else free_bytes(str(device))
    )


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from segment_concept.checkpoints.build import find_device

    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}", f"{properties.name}, {properties.total_memory / GIB:.1f} GiB"
    if torch.backends.mps.is_available():
        yield "mps", "Apple's GPU"
    yield "default device", f"{find_device()}, {torch.get_num_threads()} threads"


def _faults() -> Iterator[str]:
    import av

    from segment_concept.checkpoints.build import bundled_weights
    from segment_concept.video.encode import ENCODERS

    for name, text in versions().items():
        if text == "missing":
            yield f"{name} is not installed: pip install --upgrade segment-concept"
    if not any(name in av.codecs_available for name in ENCODERS):
        yield "PyAV has no H.264 encoder, so no overlay can be written: pip install --upgrade av"
    if not bundled_weights().exists():
        yield "the bundled weights are missing: install the package again"


def register(app: typer.Typer) -> None:
    """Add `recipes` and `doctor` to the command line."""
    app.command("recipes")(recipes)
    app.command("doctor")(doctor)
