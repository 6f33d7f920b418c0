"""The functions by which scripts of SAM 2 make a predictor."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from segment_concept.compat.build import build_tracker
from segment_concept.compat.predictor import VideoPredictor
from segment_concept.recipes import Recipe


def build_sam2_video_predictor(
    config_file: str | None,
    ckpt_path: str | Path | Recipe | None = None,
    device: str | torch.device | None = "auto",
    mode: str = "eval",
    hydra_overrides_extra: Iterable[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
) -> VideoPredictor:
    """SAM 2's own way to a video predictor.

    Args:
        config_file: not looked at: all sizes are read off the weights.
        ckpt_path: the weights or a recipe; see `VideoPredictor.from_pretrained`.
        device: see `load_tracker`.
        mode: `eval`.
        hydra_overrides_extra: lines such as `++model.non_overlap_masks=true`; those that are not
            understood are refused by name.
        apply_postprocessing: SAM 2's name for how it is used interactively; without, as its
            benchmark script uses it (`Sam2Options.benchmark`). Of no consequence for the compact
            model.
        vos_optimized: compile the networks when they are first used. Of no consequence for the
            compact model.

    Raises:
        InputError: a setting is not understood, or there are no such weights.
        CheckpointError: the weights are damaged or another network's.
    """
    tracker = build_tracker(
        ckpt_path, device, mode, hydra_overrides_extra, apply_postprocessing, vos_optimized
    )
    return VideoPredictor(tracker)


def build_sam2_video_predictor_hf(model_id: str | Recipe, **settings: Any) -> VideoPredictor:
    """The same from a name on the hub."""
    return VideoPredictor.from_pretrained(model_id, **settings)


def build_sam2(
    config_file: str | None,
    ckpt_path: str | Path | Recipe | None = None,
    device: str | torch.device | None = "auto",
    mode: str = "eval",
    hydra_overrides_extra: Iterable[str] = (),
    apply_postprocessing: bool = True,
) -> VideoPredictor:
    """The model that `SAM2ImagePredictor` and `SAM2AutomaticMaskGenerator` are given.

    It is a video predictor, which has the network and the methods of a module. The parameters are
    those of `build_sam2_video_predictor`.
    """
    return build_sam2_video_predictor(
        config_file, ckpt_path, device, mode, hydra_overrides_extra, apply_postprocessing
    )


def build_sam2_hf(model_id: str | Recipe, **settings: Any) -> VideoPredictor:
    """The same from a name on the hub."""
    return VideoPredictor.from_pretrained(model_id, **settings)
