"""Load Cutie and XMem for recipes: find their published files and make trackers."""

from pathlib import Path

import torch

from segment_concept.baselines import (
    PUBLISHED,
    PropagationTracker,
    check_published,
    cutie_tracker,
    load_cutie,
    load_xmem,
    xmem_tracker,
)
from segment_concept.checkpoints.files import SUFFIXES, find_files
from segment_concept.types import CheckpointError

NAMES = {"cutie": "Cutie", "xmem": "XMem"}  # the recipe's network -> the authors' spelling


def load_propagation(network: str, weights: str, device: torch.device) -> PropagationTracker:
    """Load the tracker of a recipe whose network is `cutie` or `xmem`.

    Args:
        network: `cutie` or `xmem`.
        weights: see `propagation_file`.
        device: device of the tracker.

    Raises:
        CheckpointError: the file is missing, damaged, or belongs to another network.
    """
    path = propagation_file(network, weights)
    check_published(path)
    if network == "cutie":
        return cutie_tracker(load_cutie(path).to(device))
    return xmem_tracker(load_xmem(path).to(device))


def propagation_file(network: str, weights: str) -> Path:
    """Find the file with the weights.

    Args:
        network: `cutie` or `xmem`.
        weights: a file; a folder with a file of a published name, or with a single weights file;
            or a published file name or URL, which is searched in the current folder and in
            `torch.hub`'s cache.

    Raises:
        CheckpointError: it is in none of these places; the message gives the download URL.
    """
    path = Path(weights).expanduser()
    if path.is_dir():
        names = [c.file for c in PUBLISHED.values() if c.network == NAMES[network]]
        published = next((path / name for name in names if (path / name).is_file()), None)
        return published or find_files(path)[0]
    name = weights.rsplit("/", 1)[-1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    is_published = name in PUBLISHED and weights in (name, PUBLISHED[name].url)
    for candidate in (path, Path(name), cached) if is_published else (path,):
        if candidate.is_file():
            return _with_suffix(candidate)
    raise CheckpointError(_where_to_get(network, weights, cached if is_published else None))


def _with_suffix(path: Path) -> Path:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(
            f"{path} is not a weights file: expected one of {', '.join(SUFFIXES)}"
        )
    return path


def _where_to_get(network: str, weights: str, cached: Path | None) -> str:
    releases = [c.url for c in PUBLISHED.values() if c.network == NAMES[network]]
    hint = "" if cached is None else f", or save it as {cached}"
    return (
        f"the weights of {NAMES[network]} are not on this machine: there is no file or folder "
        f"{weights}. Download {' or '.join(releases)} and use --weights FILE "
        f"(in Python: replace(recipe, weights=...)){hint}"
    )
