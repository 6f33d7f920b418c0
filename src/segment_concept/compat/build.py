"""Build a tracker from the arguments of SAM 2's builders."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from segment_concept.checkpoints.load import load_tracker
from segment_concept.compat.overrides import configure
from segment_concept.compat.recipes import recipe_for
from segment_concept.recipes import Recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError


def build_tracker(
    source: str | Path | Recipe | None,
    device: str | torch.device | None = "auto",
    mode: str = "eval",
    hydra_overrides_extra: Iterable[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    **settings: Any,
) -> Tracker:
    """Load the tracker behind a predictor.

    Args:
        source: the weights or a recipe; see `VideoPredictor.from_pretrained`.
        device: see `load_tracker`; None for `auto`.
        mode: `eval`.
        hydra_overrides_extra: lines such as `++model.non_overlap_masks=true`; see `configure`.
        apply_postprocessing: see `configure`.
        vos_optimized: see `configure`.
        settings: `dtype`, `size` and `compiled` of `load_tracker`.

    Raises:
        InputError: a setting is unknown, or asks for what the network does not have.
        CheckpointError: the weights are missing, damaged or belong to another network.
    """
    unknown = [name for name in settings if name not in ("dtype", "size", "compiled")]
    if unknown:
        raise InputError(
            f"unknown setting {unknown[0]}: known are device, mode, hydra_overrides_extra, "
            "apply_postprocessing, vos_optimized, dtype, size and compiled"
        )
    if mode != "eval":
        raise InputError(f"mode={mode!r}: predictors cannot be trained, use 'eval'")
    if source is None:
        raise InputError(
            "no weights: give ckpt_path, a file, a folder or a Hugging Face repository"
        )
    name = "auto" if device is None else str(device)
    tracker = load_tracker(recipe_for(source), device=name, **settings)
    return configure(
        tracker,
        apply_postprocessing=apply_postprocessing,
        vos_optimized=vos_optimized,
        overrides=hydra_overrides_extra,
    )
