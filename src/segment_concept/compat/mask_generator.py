"""SAM 2's automatic mask generator: all objects of an image, from a grid of clicks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.compat.image_predictor import ImagePredictor
from segment_concept.compat.mask_grid import (
    Floats,
    Found,
    as_segmentation,
    crop_boxes,
    cut_by_crop,
    point_grid,
    without_duplicates,
)
from segment_concept.ops.boxes import boxes_around
from segment_concept.ops.rle import runs_of
from segment_concept.types import InputError
from segment_concept.video.memory_frames import rgb_of

_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


class AutomaticMaskGenerator:
    """`SAM2AutomaticMaskGenerator`, by its arguments.

    Args:
        model: see `ImagePredictor`.
        points_per_side: clicks along each side of the image; None with `point_grids`.
        points_per_batch: how many clicks go through the network together.
        pred_iou_thresh: masks of a lower predicted IoU are dropped.
        stability_score_thresh: and those that change more with the threshold of their logits.
        stability_score_offset: by how much the threshold is moved for that.
        mask_threshold: logits above are the object.
        box_nms_thresh: of two masks whose boxes overlap by more than this IoU one is dropped.
        crop_n_layers: also look at crops of the image; layer i has 2^i along each side.
        crop_nms_thresh: as `box_nms_thresh`, between crops.
        crop_overlap_ratio: by which share of the shorter side crops of the first layer overlap.
        crop_n_points_downscale_factor: so many times fewer clicks along a side in each layer.
        point_grids: for each layer (P, 2) clicks, in shares of the image.
        min_mask_region_area: holes and islands of at most so many pixels of the network's mask
            are removed.
        output_mode: `binary_mask`, `uncompressed_rle` or `coco_rle`.
        use_m2m: refine each mask once, with itself as a prompt.
        multimask_output: three masks a click rather than one.

    Raises:
        InputError: an argument has no meaning, or the network is another than SAM 2.1.
    """

    def __init__(  # noqa: PLR0913 -- SAM 2's signature
        self,
        model: Any,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[Any]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise InputError("give either points_per_side or point_grids")
        if output_mode not in _MODES:
            raise InputError(f"unknown output_mode {output_mode!r}: there are {', '.join(_MODES)}")
        if points_per_side is not None:
            factor = crop_n_points_downscale_factor
            sides = [int(points_per_side / factor**layer) for layer in range(crop_n_layers + 1)]
            if min(sides) < 1:
                raise InputError(f"{sides} points along a side in each layer: at least 1 is needed")
            self.point_grids: list[Floats] = [point_grid(side) for side in sides]
        else:
            self.point_grids = [np.asarray(grid, np.float64) for grid in point_grids or ()]
        if len(self.point_grids) <= crop_n_layers:
            raise InputError(f"{len(self.point_grids)} point_grids for {crop_n_layers + 1} layers")
        area = min_mask_region_area
        self.predictor = ImagePredictor(model, max_hole_area=area, max_sprinkle_area=area)
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.mask_threshold = mask_threshold
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers, self.crop_nms_thresh = crop_n_layers, crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.output_mode = output_mode
        self.use_m2m = use_m2m
        self.multimask_output = multimask_output

    @classmethod
    def from_pretrained(
        cls, model_id: Any, *, device: str | torch.device = "auto", **settings: Any
    ) -> "AutomaticMaskGenerator":
        """A generator with published weights; the settings are the constructor's."""
        return cls(ImagePredictor.from_pretrained(model_id, device=device).model, **settings)

    def generate(self, image: Any) -> list[dict[str, Any]]:
        """All masks of an image, an array (H, W, 3) of uint8 RGB.

        Returns:
            For each mask `segmentation` (see `output_mode`), `area` in pixels, `bbox` x, y, width
            and height, `predicted_iou`, `stability_score`, `point_coords` (the click) and
            `crop_box` (x, y, width and height of the part that was looked at).

        Raises:
            InputError: it is no image.
        """
        rgb = rgb_of(image)
        size = rgb.shape[0], rgb.shape[1]
        crops = crop_boxes(size, self.crop_n_layers, self.crop_overlap_ratio)
        found = Found.joined([self._look(rgb, crop, layer) for layer, crop in crops])
        if len(crops) > 1:  # what was found in a smaller crop is seen more closely
            sides = found.crops[:, 2:] - found.crops[:, :2]
            scores = 1 / np.prod(sides, axis=1)
            kept = without_duplicates(found.boxes, scores, self.crop_nms_thresh)
            found = found.select(kept)
        return [self._record(found, row, size) for row in range(len(found))]

    def _look(self, rgb: NDArray[np.uint8], crop: tuple[int, int, int, int], layer: int) -> Found:
        """The masks of one crop, in pixels of the whole image."""
        x0, y0, x1, y1 = crop
        self.predictor.set_image(rgb[y0:y1, x0:x1])
        clicks = self.point_grids[layer] * (x1 - x0, y1 - y0)
        size = rgb.shape[0], rgb.shape[1]
        batches = range(0, len(clicks), self.points_per_batch)
        found = Found.joined(
            [self._segment(clicks[i : i + self.points_per_batch], crop, size) for i in batches]
        )
        self.predictor.reset_predictor()
        return found.select(without_duplicates(found.boxes, found.iou, self.box_nms_thresh))

    def _segment(
        self, clicks: Floats, crop: tuple[int, int, int, int], size: tuple[int, int]
    ) -> Found:
        """The masks of some clicks, given in pixels of the crop."""
        logits, iou, low = self._predict(clicks, crop)
        points = np.repeat(clicks, logits.shape[1], axis=0)
        logits, iou, low = logits.flatten(0, 1), iou.flatten(0, 1), low.flatten(0, 1)
        if self.use_m2m:
            logits, iou = self._refined(points, crop, low)
        kept = torch.ones_like(iou, dtype=torch.bool)
        if self.pred_iou_thresh > 0:
            kept &= iou > self.pred_iou_thresh
        stability = _stability(logits, self.mask_threshold, self.stability_score_offset)
        if self.stability_score_thresh > 0:
            kept &= stability >= self.stability_score_thresh
        inside = logits[kept] > self.mask_threshold
        masks = inside.cpu().numpy()
        corner = np.array([crop[0], crop[1]], np.float64)
        rows = kept.cpu().numpy()
        found = Found(
            [runs_of(_placed(mask, crop, size)) for mask in masks],
            np.array(boxes_around(inside)).reshape(-1, 4) + np.tile(corner, 2),
            iou.double().cpu().numpy()[rows],
            stability.double().cpu().numpy()[rows],
            points[rows] + corner,
            np.tile(np.array(crop, np.float64), (len(masks), 1)),
        )
        return found.select(np.flatnonzero(~cut_by_crop(found.boxes, crop, size)))

    def _predict(
        self,
        clicks: Floats,
        crop: tuple[int, int, int, int],
        mask_input: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One object a click; three masks of each, or, with a mask to correct, one."""
        predictor = self.predictor
        scale = predictor.image_size / np.array([crop[2] - crop[0], crop[3] - crop[1]])
        xy = torch.as_tensor(clicks * scale, dtype=torch.float32, device=predictor.device)
        labels = torch.ones(len(xy), 1, dtype=torch.long, device=predictor.device)
        several = self.multimask_output and mask_input is None
        return predictor.predict_torch((xy[:, None], labels), mask_input, multimask_output=several)

    def _refined(
        self, points: Floats, crop: tuple[int, int, int, int], low: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, H, W) and predicted IoU (N,) of N masks that are prompts themselves."""
        parts = [
            self._predict(points[rows], crop, low[rows, None])
            for i in range(0, len(points), self.points_per_batch)
            for rows in [slice(i, i + self.points_per_batch)]
        ]
        return torch.cat([p[0][:, 0] for p in parts]), torch.cat([p[1][:, 0] for p in parts])

    def _record(self, found: Found, row: int, size: tuple[int, int]) -> dict[str, Any]:
        return {
            "segmentation": as_segmentation(found.runs[row], size, self.output_mode),
            "area": int(found.runs[row][1::2].sum()),
            "bbox": _with_sides(found.boxes[row]),
            "predicted_iou": float(found.iou[row]),
            "point_coords": [found.points[row].tolist()],
            "stability_score": float(found.stability[row]),
            "crop_box": _with_sides(found.crops[row]),
        }


def _stability(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """(N,) IoU of the masks at a threshold that is higher and one that is lower by the offset."""
    inner = (logits > threshold + offset).flatten(1).sum(dim=1)
    outer = (logits > threshold - offset).flatten(1).sum(dim=1)
    return inner / outer


def _placed(
    mask: NDArray[np.bool_], crop: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """The mask of a crop in the whole image."""
    whole = np.zeros(size, np.bool_)
    whole[crop[1] : crop[3], crop[0] : crop[2]] = mask
    return whole


def _with_sides(box: Floats) -> list[float]:
    """x, y, width and height."""
    x0, y0, x1, y1 = box.tolist()
    return [x0, y0, x1 - x0, y1 - y0]
