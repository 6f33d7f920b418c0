"""What a process and its GPU occupied at most, and what each recipe needs."""

import sys
from collections.abc import Iterator, Mapping
from importlib.resources import as_file, files
from itertools import islice
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:  # recipes load torch, which `--help` can do without
    import torch

    from segment_concept.checkpoints.needs import Need

GIB = 1 << 30
MEASURED = "sec_compact"
FRAMES = 12  # of the demo clip: more than its memory holds


def process_peak() -> int | None:
    """Bytes that this process occupied at most; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def gpu_peak() -> int | None:
    """Bytes that this process occupied at most on its GPU; None where it has none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())


def memory_table(device: "torch.device", room: int | None) -> Table:
    """What every recipe needs on a device to follow one object, beside the room that there is.

    Of the bundled model it is measured: this process tracks a few frames of the demo clip. Of the
    others it is estimated, so that nothing has to be fetched. On a CPU it is that of the whole
    process.

    Raises:
        SegmentConceptError: the bundled model cannot be loaded.
    """
    bare = _peak_on(device) or 0
    track_some_frames(device)
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    table.add_column(f"peak on {device}", no_wrap=True)
    table.add_column(overflow="fold")
    how = f"measured: one object, {FRAMES} frames of the demo"
    table.add_row(MEASURED, *_words(_peak_on(device), how, room))
    for needs, names in _alike(device).items():
        for need in needs:
            name = f"  with {need.variant}" if need.variant else ", ".join(names)
            table.add_row(name, *_words(bare + need.bytes, "estimated", room))
    return table


def track_some_frames(device: "torch.device") -> None:
    """Follow the demo's rabbit for a moment with the bundled model."""
    from segment_concept.checkpoints.build import load
    from segment_concept.video.prompts import read_prompts
    from segment_concept.video.source import open_video

    with as_file(files("segment_concept") / "assets" / "demo") as folder:
        source = open_video(folder / "demo.mp4")
        frames = islice(source.frames(), FRAMES)
        first = next(frames)
        session = load(MEASURED, device=str(device)).session()
        shown = read_prompts(folder / "prompts.json")
        session.prompt(first, {one.object_id: one.prompt for one in shown})
        for frame in frames:
            session.step(frame)


def _peak_on(device: "torch.device") -> int | None:
    return process_peak() if device.type == "cpu" else gpu_peak()


def _alike(device: "torch.device") -> Mapping[tuple["Need", ...], list[str]]:
    """The names of the recipes that need the same."""
    from segment_concept.checkpoints.needs import estimated_needs
    from segment_concept.recipes import RECIPES

    names: dict[tuple[Need, ...], list[str]] = {}
    for name, make in RECIPES.items():
        needs = estimated_needs(make(), device)
        if needs:
            names.setdefault(needs, []).append(name)
    return names


def _words(needed: int | None, how: str, room: int | None) -> Iterator[str]:
    yield "unknown" if needed is None else f"{needed / GIB:.1f} GiB"
    too_much = needed is not None and room is not None and needed > room
    yield f"{how}; more than there is" if too_much else how
