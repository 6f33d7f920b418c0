"""SAM 2's builder functions."""

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
    **settings: Any,
) -> VideoPredictor:
    """Build a video predictor, with SAM 2's signature.

    Args:
        config_file: ignored; all sizes are inferred from the weights.
        ckpt_path: the weights or a recipe; see `VideoPredictor.from_pretrained`.
        device: see `load_tracker`.
        mode: `eval`.
        hydra_overrides_extra: lines such as `++model.non_overlap_masks=true`; unknown settings
            raise InputError.
        apply_postprocessing: True for SAM 2's interactive settings, False for those of its
            benchmark script (`Sam2Options.benchmark`). No effect on the compact model.
        vos_optimized: compile the networks on first use. No effect on the compact model.
        settings: `dtype`, `size` and `compiled` of `load_tracker`. By default the network computes
            in bfloat16 on a GPU that has it, as SAM 2's scripts do under autocast.

    Raises:
        InputError: a setting is unknown, or there are no such weights.
        CheckpointError: the weights are damaged or belong to another network.
    """
    tracker = build_tracker(
        ckpt_path,
        device,
        mode,
        hydra_overrides_extra,
        apply_postprocessing,
        vos_optimized,
        **settings,
    )
    return VideoPredictor(tracker)


def build_sam2_video_predictor_hf(model_id: str | Recipe, **settings: Any) -> VideoPredictor:
    """Build a video predictor from a Hugging Face repository or a recipe."""
    return VideoPredictor.from_pretrained(model_id, **settings)


def build_sam2(
    config_file: str | None,
    ckpt_path: str | Path | Recipe | None = None,
    device: str | torch.device | None = "auto",
    mode: str = "eval",
    hydra_overrides_extra: Iterable[str] = (),
    apply_postprocessing: bool = True,
    **settings: Any,
) -> VideoPredictor:
    """Build the model argument of `SAM2ImagePredictor` and `SAM2AutomaticMaskGenerator`.

    It is a video predictor, which has the network and the methods of a module. The parameters are
    those of `build_sam2_video_predictor`.
    """
    return build_sam2_video_predictor(
        config_file,
        ckpt_path,
        device,
        mode,
        hydra_overrides_extra,
        apply_postprocessing,
        **settings,
    )


def build_sam2_hf(model_id: str | Recipe, **settings: Any) -> VideoPredictor:
    """Like `build_sam2`, from a Hugging Face repository or a recipe."""
    return VideoPredictor.from_pretrained(model_id, **settings)
