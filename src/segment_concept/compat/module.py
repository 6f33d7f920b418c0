"""Methods of a PyTorch module, and SAM 2's settings, on a predictor."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from segment_concept.compat.overrides import with_options
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.tracking.results import suppress_overlap
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError

_Self = TypeVar("_Self", bound="ModuleLike")


class ModuleLike:
    """The methods of `nn.Module` and the settings of SAM 2's predictors that scripts use.

    Weights are those of the segmenter, under this package's names. SeC's concept network is moved
    with them, and keeps the data type with which it was loaded.
    """

    tracker: Tracker

    @property
    def network(self) -> nn.Module:
        """The segmenter's network."""
        segmenter: Any = self.tracker.segmenter
        found: nn.Module = segmenter.network if isinstance(segmenter, Sam2Segmenter) else segmenter
        return found

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        return next(self.network.parameters()).dtype

    @property
    def image_size(self) -> int:
        """Side of SAM 2.1's square input, or the compact network's short side, in pixels."""
        segmenter: Any = self.tracker.segmenter
        if isinstance(segmenter, Sam2Segmenter):
            return segmenter.network.sizes.image_side
        return int(segmenter.short_side)

    @property
    def fill_hole_area(self) -> int:
        """Maximum area of holes that are filled, in pixels; 0 for none."""
        segmenter = self.tracker.segmenter
        return segmenter.options.fill_hole_area if isinstance(segmenter, Sam2Segmenter) else 0

    @fill_hole_area.setter
    def fill_hole_area(self, area: int) -> None:
        segmenter = self.tracker.segmenter
        if isinstance(segmenter, Sam2Segmenter):
            options = replace(segmenter.options, fill_hole_area=int(area))
            self.tracker = with_options(self.tracker, options)
        elif area:
            raise InputError("fill_hole_area is for SAM 2.1 and SeC: leave it at 0")

    @property
    def non_overlap_masks(self) -> bool:
        """Whether masks of different objects must not overlap."""
        return self.tracker.non_overlapping

    @non_overlap_masks.setter
    def non_overlap_masks(self, wanted: bool) -> None:
        self.tracker = replace(self.tracker, non_overlapping=bool(wanted))

    def to(self: _Self, *args: Any, **kwargs: Any) -> _Self:
        """Move the networks to a device, or convert the segmenter's weights, as in PyTorch.

        Raises:
            InputError: there is no such device, or it has too little memory.
        """
        device, dtype = _destination(*args, **kwargs)
        if device is not None:
            self.tracker.to(device)
        if isinstance(self.tracker.segmenter, Sam2Segmenter):
            self.tracker.segmenter.move(None, dtype)
        return self

    def cuda(self: _Self, device: int | str | torch.device | None = None) -> _Self:
        """Move the network to a GPU."""
        return self.to(torch.device("cuda" if device is None else device))

    def cpu(self: _Self) -> _Self:
        """Move the network to the CPU."""
        return self.to("cpu")

    def half(self: _Self) -> _Self:
        """Convert the weights to float16. No effect on the compact model."""
        return self.to(torch.float16)

    def bfloat16(self: _Self) -> _Self:
        """Convert the weights to bfloat16. No effect on the compact model."""
        return self.to(torch.bfloat16)

    def float(self: _Self) -> _Self:
        """Convert the weights to float32."""
        return self.to(torch.float32)

    def eval(self: _Self) -> _Self:
        """No effect; predictors are always in evaluation mode."""
        return self

    def train(self: _Self, mode: bool = True) -> _Self:
        """No effect with `mode=False`.

        Raises:
            InputError: `mode` is True.
        """
        if mode:
            raise InputError("predictors cannot be trained: see `segment-concept train`")
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the segmenter's network."""
        return self.network.parameters()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters of the segmenter's network, under this package's names."""
        return self.network.named_parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """State dict of the segmenter's network, under this package's names."""
        state: dict[str, Tensor] = self.network.state_dict()
        return state

    def _apply_non_overlapping_constraints(self, pred_masks: Tensor) -> Tensor:
        """SAM 2's own: the highest of (O, 1, H, W) logits keeps a pixel, the others are -10."""
        return suppress_overlap(pred_masks[:, 0])[:, None]


def _destination(*args: Any, **kwargs: Any) -> tuple[torch.device | None, torch.dtype | None]:
    """Device and number type of a call of `to`."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for value in args:
        if isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, str | int | torch.device):
            device = value
    return None if device is None else torch.device(device), dtype
