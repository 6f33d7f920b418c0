"""SAM 2's image predictor, by its names and signatures, over our SAM 2.1."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segment_concept.compat.build import build_tracker
from segment_concept.compat.module import ModuleLike
from segment_concept.compat.predictor import VideoPredictor
from segment_concept.compat.prompts import BOTTOM_RIGHT, TOP_LEFT, Numbers
from segment_concept.models.sam2.network import Decoded
from segment_concept.models.sam2.segmenter import (
    PREVIOUS_LIMIT,
    Sam2Segmenter,
    fall_back_to_stable,
)
from segment_concept.ops.holes import small_regions
from segment_concept.ops.resize import normalized
from segment_concept.recipes import Recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError
from segment_concept.video.memory_frames import rgb_of

Arrays: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
_REMOVED = 10.0  # logits of filled holes and, negative, of removed islands, as in the release


@dataclass(frozen=True, slots=True, eq=False)
class _EncodedImage:
    """An image that was encoded: features (1, ...) on three levels, and its size."""

    fine: tuple[Tensor, Tensor]
    coarse: Tensor
    size: tuple[int, int]


class ImagePredictor:
    """`SAM2ImagePredictor`: encode an image once, then prompt it as often as you like.

    Args:
        sam_model: what `build_sam2` returns, a tracker with SAM 2.1 or SeC, or its segmenter.
        mask_threshold: logits above are the object.
        max_hole_area: regions of at most so many background pixels of the network's mask become
            foreground.
        max_sprinkle_area: and regions of at most so many foreground pixels background.

    Raises:
        InputError: the network is another.
    """

    def __init__(
        self,
        sam_model: ModuleLike | Tracker | Sam2Segmenter,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **_: Any,
    ) -> None:
        self.model = sam_model
        self.mask_threshold = mask_threshold
        self.max_hole_area, self.max_sprinkle_area = max_hole_area, max_sprinkle_area
        self._segmenter = _segmenter_of(sam_model)
        self._images: list[_EncodedImage] = []

    @classmethod
    def from_pretrained(
        cls, model_id: str | Path | Recipe, *, device: str | torch.device = "auto", **settings: Any
    ) -> "ImagePredictor":
        """A predictor with published weights; see `VideoPredictor.from_pretrained`."""
        own = ("mask_threshold", "max_hole_area", "max_sprinkle_area")
        chosen = {name: settings.pop(name) for name in own if name in settings}
        return cls(VideoPredictor(build_tracker(model_id, device, **settings)), **chosen)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._segmenter.network.device

    @property
    def image_size(self) -> int:
        """Pixels of the square that the network reads."""
        return self._segmenter.network.sizes.image_side

    def set_image(self, image: Any) -> None:
        """Encode an image: an array (H, W, 3) of uint8 RGB, or one of Pillow's.

        Raises:
            InputError: it is no image.
        """
        self.set_image_batch([image])

    @torch.inference_mode()
    def set_image_batch(self, image_list: Sequence[Any]) -> None:
        """Encode several images, which may differ in size.

        Raises:
            InputError: one of them is no image.
        """
        network = self._segmenter.network
        rgb = [rgb_of(image, index) for index, image in enumerate(image_list)]
        if not rgb:
            raise InputError("there is no image: the list is empty")
        pixels = torch.stack([_square(image, network.sizes.image_side) for image in rgb])
        fine, middle, coarse = network.encode_image(pixels)
        coarse = network.without_memory(coarse)
        self._images = [
            _EncodedImage((fine[i : i + 1], middle[i : i + 1]), coarse[i : i + 1], image.shape[:2])
            for i, image in enumerate(rgb)
        ]

    def predict(
        self,
        point_coords: Numbers | None = None,
        point_labels: Numbers | None = None,
        box: Numbers | None = None,
        mask_input: Numbers | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Arrays:
        """Masks of one object of the image, or of a batch of N.

        Args:
            point_coords: (P, 2), or (N, P, 2), x and y in pixels.
            point_labels: (P,), or (N, P): 1 on the object, 0 off it.
            box: (4,), or (N, 4): x0, y0, x1, y1.
            mask_input: (1, h, w) logits of an earlier answer, its third part.
            multimask_output: three masks rather than one; for a single click.
            return_logits: logits and not 0 and 1.
            normalize_coords: x and y are pixels; else shares of the image's width and height.

        Returns:
            Masks (C, H, W) as float32, their predicted IoU (C,), and logits (C, h, w) as the
            network gives them; for a batch of more than one with N in front.

        Raises:
            InputError: no image was set, or the prompts do not fit together.
        """
        return self._numpy(
            0,
            (point_coords, point_labels, box, mask_input),
            multimask_output,
            return_logits,
            normalize_coords,
        )

    def predict_batch(
        self,
        point_coords_batch: Sequence[Numbers] | None = None,
        point_labels_batch: Sequence[Numbers] | None = None,
        box_batch: Sequence[Numbers] | None = None,
        mask_input_batch: Sequence[Numbers] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The same for every image of `set_image_batch`; each argument has one item an image.

        Raises:
            InputError: as `predict`.
        """
        given = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        answers = [
            self._numpy(
                index,
                tuple(None if part is None else part[index] for part in given),
                multimask_output,
                return_logits,
                normalize_coords,
            )
            for index in range(len(self._images))
        ]
        if not answers:
            raise _no_image()
        masks, ious, logits = zip(*answers, strict=True)
        return list(masks), list(ious), list(logits)

    def get_image_embedding(self) -> Tensor:
        """(B, C, h, w): the coarsest features of the image, or of all of a batch.

        Raises:
            InputError: no image was set.
        """
        if not self._images:
            raise _no_image()
        return torch.cat([image.coarse for image in self._images])

    def reset_predictor(self) -> None:
        """Forget the image."""
        self._images = []

    @torch.inference_mode()
    def predict_torch(
        self,
        points: tuple[Tensor, Tensor] | None,
        mask_input: Tensor | None = None,
        *,
        multimask_output: bool = True,
        image_index: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks of N objects.

        Args:
            points: (N, P, 2) in pixels of the network's square, and (N, P) labels; the corners of
                a box first, with 2 and 3; or None.
            mask_input: (N or 1, 1, h, w) logits, or None.
            multimask_output: three masks rather than one.
            image_index: which image of a batch.

        Returns:
            Logits (N, C, H, W), predicted IoU (N, C), and low resolution logits (N, C, h, w).
        """
        if image_index >= len(self._images):
            raise _no_image()
        image, network = self._images[image_index], self._segmenter.network
        sparse, dense = self._embed(points, mask_input)
        coarse = image.coarse.expand(len(sparse), -1, -1, -1)
        fine, embedded = image.fine, (sparse, dense)
        decoded = network.decode(coarse, fine, embedded, several=multimask_output)
        if not multimask_output and self._segmenter.options.stability_fallback:
            several = network.decode(coarse, fine, embedded, several=True)
            decoded = fall_back_to_stable(decoded, several)
        logits = F.interpolate(self._tidied(decoded), image.size, mode="bilinear")
        return logits, decoded.iou, decoded.logits.clamp(-PREVIOUS_LIMIT, PREVIOUS_LIMIT)

    def _embed(
        self, points: tuple[Tensor, Tensor] | None, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sparse (N, P, C) and dense embeddings; as in the release none are sparse for a mask."""
        network = self._segmenter.network
        if points is not None:
            return network.embed_prompts(*points, mask_input)
        rows = 1 if mask_input is None else len(mask_input)
        nowhere = torch.zeros(rows, 1, 2, device=self.device)
        padding = torch.full((rows, 1), -1, device=self.device)
        sparse, dense = network.embed_prompts(nowhere, padding, mask_input)
        return sparse[:, :0], dense

    def _tidied(self, decoded: Decoded) -> Tensor:
        """Low resolution logits without small holes and islands."""
        logits = decoded.logits
        if self.max_hole_area > 0:
            holes = small_regions(logits <= self.mask_threshold, int(self.max_hole_area))
            logits = torch.where(holes, self.mask_threshold + _REMOVED, logits)
        if self.max_sprinkle_area > 0:
            # as in the release, islands are those of the mask before holes were filled
            inside = decoded.logits > self.mask_threshold
            islands = small_regions(inside, int(self.max_sprinkle_area))
            logits = torch.where(islands, self.mask_threshold - _REMOVED, logits)
        return logits

    def _numpy(
        self,
        image_index: int,
        prompts: tuple[Any, ...],
        multimask_output: bool,
        return_logits: bool,
        normalize_coords: bool,
    ) -> Arrays:
        if image_index >= len(self._images):
            raise _no_image()
        points, mask_input = self._prepared(image_index, prompts, normalize_coords)
        logits, iou, low = self.predict_torch(
            points, mask_input, multimask_output=multimask_output, image_index=image_index
        )
        masks = logits if return_logits else (logits > self.mask_threshold).float()
        found = [t.squeeze(0).float().cpu().numpy() for t in (masks, iou, low)]
        return found[0], found[1], found[2]

    def _prepared(
        self, image_index: int, prompts: tuple[Any, ...], normalize_coords: bool
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """Prompts of a caller as `predict_torch` takes them."""
        coords, labels, box, mask_input = (
            None if part is None else torch.as_tensor(np.asarray(part), dtype=torch.float32)
            for part in prompts
        )
        if (coords is None) != (labels is None):
            raise InputError("point_coords and point_labels go together: give both or neither")
        height, width = self._images[image_index].size
        unit = torch.tensor([width, height] if normalize_coords else [1, 1])
        scale = self.image_size / unit
        rows: list[tuple[Tensor, Tensor]] = []
        if box is not None:
            corners = box.reshape(-1, 2, 2)
            kinds = torch.tensor([TOP_LEFT, BOTTOM_RIGHT]).expand(len(corners), 2)
            rows.append((corners * scale, kinds))
        if coords is not None and labels is not None:
            xy = coords[None] if coords.ndim == 2 else coords
            kinds = labels[None] if labels.ndim == 1 else labels
            if xy.shape[-1:] != (2,) or xy.shape[:-1] != kinds.shape:
                raise InputError(
                    f"point_coords {tuple(coords.shape)} do not go with point_labels "
                    f"{tuple(labels.shape)}: expected (P, 2) and (P,), or (N, P, 2) and (N, P)"
                )
            rows.append((xy * scale, kinds.long()))
        if len({len(xy) for xy, _ in rows}) > 1:
            raise InputError("there are not as many boxes as sets of points")
        points = None
        if rows:
            points = (
                torch.cat([xy for xy, _ in rows], dim=1).to(self.device),
                torch.cat([kinds for _, kinds in rows], dim=1).to(self.device),
            )
        if mask_input is not None:
            mask_input = (mask_input[None] if mask_input.ndim == 3 else mask_input).to(self.device)
        return points, mask_input


def _segmenter_of(model: ModuleLike | Tracker | Sam2Segmenter) -> Sam2Segmenter:
    tracker = getattr(model, "tracker", model)
    segmenter = getattr(tracker, "segmenter", tracker)
    if not isinstance(segmenter, Sam2Segmenter):
        raise InputError(
            f"a {type(segmenter).__name__} does not segment single images: take SAM 2.1 or SeC, "
            "for example build_sam2(None, 'facebook/sam2.1-hiera-large')"
        )
    return segmenter


def _square(rgb: NDArray[np.uint8], side: int) -> Tensor:
    """(3, side, side): the release resizes a tensor here, bilinear and antialiased."""
    pixels = torch.tensor(rgb).permute(2, 0, 1).float().div(255)[None]
    return normalized(F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)[0])


def _no_image() -> InputError:
    return InputError("no image was set: call set_image first")
