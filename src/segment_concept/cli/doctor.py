"""`segment-concept recipes` and `doctor`: the recipes, and a check of this machine."""

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import as_file, files
from itertools import islice
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from segment_concept.cli.console import plain_errors, say

if TYPE_CHECKING:  # recipes load torch, which `--help` does not need
    import torch

    from segment_concept.checkpoints.recipe_memory import Need
from segment_concept.runtime.memory import gpu_peak, process_peak
from segment_concept.runtime.versions import torchvision_misfit, versions

UNSOUND = 1  # exit code of `doctor`
FREE_LICENSES = ("Apache-2.0", "MIT")


def recipes() -> None:
    """List the recipes with their weights, size, license and purpose."""
    from segment_concept.recipes import RECIPES

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "weights", "size", "license", "description"):
        table.add_column(column, overflow="fold")
    for make in RECIPES.values():
        recipe = make()
        table.add_row(
            recipe.name, recipe.weights, recipe.weights_size, recipe.license, recipe.about
        )
    Console().print(table)


def doctor() -> None:
    """Check the installation and show the hardware and the memory each recipe needs.

    Exit codes: 0 no problems found, 1 something is missing.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in versions().items():
        table.add_row(name, text)
    table.add_row("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    table.add_row("processor", f"{os.cpu_count()} cores, {_memory()}")
    with plain_errors():
        for name, text in _devices():
            table.add_row(name, text)
        faults = list(_faults())
        Console().print(table)
        if not faults:
            say()
            Console().print(_needs())
        for line in (*_weights_notes(), *_license_notes()):
            say(line)
    for fault in faults:
        say(f"error: {fault}", err=True)
    if faults:
        raise typer.Exit(UNSOUND)
    say("no problems found")


def _memory() -> str:
    size = _physical_memory()
    return "memory unknown" if size is None else f"{size / GIB:.1f} GiB of memory"


def _physical_memory() -> int | None:
    if sys.platform == "win32" or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _weights_notes() -> Iterator[str]:
    """One line per state that weights can be in, with the recipes in it."""
    from segment_concept.checkpoints.readiness import recipes_by_readiness

    for state, names in recipes_by_readiness().items():
        if names:
            yield f"{state.value}: {', '.join(names)}"


def _license_notes() -> Iterator[str]:
    """One line per license other than Apache-2.0 and MIT, with the recipes it applies to."""
    from segment_concept.recipes import RECIPES

    names: dict[str, list[str]] = {}
    for make in RECIPES.values():
        recipe = make()
        if recipe.license not in FREE_LICENSES:
            names.setdefault(recipe.license, []).append(recipe.name)
    for text, recipes_of in names.items():
        yield f"license of {', '.join(recipes_of)}: {text} (docs/checkpoints.md)"


def _needs() -> Table:
    """Table of the memory that each recipe needs on the default device."""
    from segment_concept.checkpoints.memory_estimate import free_bytes
    from segment_concept.runtime.gpu import find_device

    device = find_device()
    return memory_table(
        device, _physical_memory() if device.type == "cpu" else free_bytes(str(device))
    )


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from segment_concept.runtime.gpu import find_device

    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}", f"{properties.name}, {properties.total_memory / GIB:.1f} GiB"
    if torch.backends.mps.is_available():
        yield "mps", "Apple's GPU"
    yield "default device", f"{find_device()}, {torch.get_num_threads()} threads"


def _faults() -> Iterator[str]:
    import av

    from segment_concept.checkpoints.load import bundled_weights
    from segment_concept.video.encode import ENCODERS

    for name, text in versions().items():
        if text == "missing":
            yield f"{name} is not installed: pip install --upgrade segment-concept"
    misfit = torchvision_misfit()
    if misfit is not None:
        yield misfit
    if not any(name in av.codecs_available for name in ENCODERS):
        yield "PyAV has no H.264 encoder, so no overlay can be written: pip install --upgrade av"
    if not bundled_weights().exists():
        yield "the bundled weights are missing: reinstall the package"


def register(app: typer.Typer) -> None:
    """Add `recipes` and `doctor` to the command line."""
    app.command("recipes")(recipes)
    app.command("doctor")(doctor)


GIB = 1 << 30
MEASURED = "sec_compact"
FRAMES = 12  # of the demo clip: more than its memory holds


def memory_table(device: "torch.device", available: int | None) -> Table:
    """Memory that each recipe needs on a device to track one object.

    For the bundled model it is measured: this process tracks a few frames of the demo clip. For the
    others it is estimated from the network's shapes, so nothing is downloaded. On a CPU it is the
    peak memory of the whole process.

    Args:
        device: where the recipes would run.
        room: available memory in bytes, or None if unknown; recipes that need more are marked.

    Raises:
        SegmentConceptError: the bundled model cannot be loaded.
    """
    bare = _peak_on(device) or 0
    track_some_frames(device)
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    table.add_column(f"peak on {device}", no_wrap=True)
    table.add_column(overflow="fold")
    how = f"measured with one object on {FRAMES} frames of the demo"
    table.add_row(MEASURED, *_words(_peak_on(device), how, available))
    for needs, names in _names_by_need(device).items():
        for need in needs:
            name = f"  with {need.variant}" if need.variant else ", ".join(names)
            table.add_row(name, *_words(bare + need.bytes, "estimated", available))
    return table


def track_some_frames(device: "torch.device") -> None:
    """Track the object of the demo clip for a few frames with the bundled model."""
    from segment_concept.checkpoints.load import load
    from segment_concept.pipeline.prompts import read_prompts
    from segment_concept.video.open import open_video

    with as_file(files("segment_concept") / "assets" / "demo") as folder:
        source = open_video(folder / "demo.mp4")
        frames = islice(source.frames(), FRAMES)
        first = next(frames)
        session = load(MEASURED, device=str(device)).session()
        prompts = read_prompts(folder / "prompts.json")
        session.prompt(first, {prompt.object_id: prompt.prompt for prompt in prompts})
        for frame in frames:
            session.step(frame)


def _peak_on(device: "torch.device") -> int | None:
    return process_peak() if device.type == "cpu" else gpu_peak()


def _names_by_need(device: "torch.device") -> Mapping[tuple["Need", ...], list[str]]:
    """Group recipe names by equal memory needs."""
    from segment_concept.checkpoints.recipe_memory import estimated_needs
    from segment_concept.recipes import RECIPES

    names: dict[tuple[Need, ...], list[str]] = {}
    for name, make in RECIPES.items():
        needs = estimated_needs(make(), device)
        if needs:
            names.setdefault(needs, []).append(name)
    return names


def _words(needed: int | None, how: str, available: int | None) -> Iterator[str]:
    yield "unknown" if needed is None else f"{needed / GIB:.1f} GiB"
    too_much = needed is not None and available is not None and needed > available
    yield f"{how}; more than available" if too_much else how
