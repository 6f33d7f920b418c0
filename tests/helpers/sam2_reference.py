"""What the SAM 2.1 parity tests share: stored references, tiny networks, and ways to look in."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from helpers.fixtures import facts, fixture
from helpers.weight_recipe import Recipe, checksum
from segment_concept.checkpoints.files import Weights
from segment_concept.checkpoints.sam2.load import load_network, load_sam2
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import WIRINGS, HieraWiring
from segment_concept.ops.resize import IMAGENET_MEAN, IMAGENET_STD
from segment_concept.tracking.memory import MemoryBank, PlaybackPosition, Recall
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.segmenter import Features, Proposals
from segment_concept.types import Frame, ObjectId

TINY = HieraWiring(heads=1, windows=(8, 4, 8, 4), global_blocks=(3,))
ONE = ObjectId(1)


@cache
def stored(folder: str, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and discrete facts of a reference."""
    return load_file(fixture(f"{folder}/{name}.safetensors")), facts(f"{folder}/{name}")


def frames_of(pictures: Tensor) -> list[Frame]:
    """A stored video (T, H, W, 3)."""
    return [Frame(i, picture.numpy()) for i, picture in enumerate(pictures)]


@dataclass
class Watched:
    """A policy that writes down every recall."""

    policy: MemoryPolicy
    recalls: list[tuple[int, Recall]] = field(default_factory=list)

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        recalled = self.policy.recall(bank, position)
        self.recalls.append((position.frame_index, recalled))
        return recalled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)


class WatchedSegmenter(Sam2Segmenter):
    """Keeps what it proposed and what its decoder was given, call after call."""

    proposals: list[Proposals]
    conditioned: list[Tensor]

    def __init__(self, inner: Sam2Segmenter) -> None:
        super().__init__(inner.network, inner.options)
        self.proposals, self.conditioned = [], []

    def segment(self, *args: Any) -> Proposals:
        self.proposals.append(super().segment(*args))
        return self.proposals[-1]

    def propose(self, *args: Any) -> Proposals:
        self.proposals.append(super().propose(*args))
        return self.proposals[-1]

    def condition(self, *args: Any) -> Tensor:
        self.conditioned.append(super().condition(*args))
        return self.conditioned[-1]


class StoredPixels(WatchedSegmenter):
    """Sees stored pictures of the network's own size instead of the frames of the video."""

    def __init__(self, inner: Sam2Segmenter, pixels: Tensor) -> None:
        super().__init__(inner)
        self.pixels = pixels

    def encode(self, frames: Any) -> Features:
        rows = [frame.index for frame in frames]
        return self.encode_pixels(self.pixels[rows], frames[0].size)


def tiny_sam2() -> WatchedSegmenter:
    """The network of `parity/sam2_*`: 128 px, 7 slots."""
    weights = fixture("parity/sam2_tiny_weights.safetensors")
    return WatchedSegmenter(load_sam2(weights, image_side=128, wiring=TINY))


def tiny_sec() -> WatchedSegmenter:
    """The segmenter of `parity/sec_*`: 128 px, 22 slots, with `token_attn`."""
    weights = fixture("parity/sec_tiny_weights.safetensors")
    return WatchedSegmenter(load_sam2(weights, image_side=128, wiring=TINY))


@dataclass(frozen=True)
class Remade(Weights):
    """Weights made from a recipe."""

    made: dict[str, Tensor]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.made.items()}

    def read(self, name: str) -> Tensor:
        return self.made[name]


def remade(told: dict[str, Any]) -> Remade:
    """The weights with which a reference in `trackers` was computed; checked by their sum."""
    chosen = told["options"]
    recipe = Recipe(seed=chosen["seed"], overrides=[tuple(o) for o in chosen["overrides"]])
    made = recipe.weights({k: torch.empty(s, device="meta") for k, s in told["keys"].items()})
    expected = told["weight_checksum"]
    assert checksum(made).numel == expected["numel"]
    np.testing.assert_allclose(checksum(made).abs_sum, expected["abs_sum"], rtol=1e-12)
    return Remade(made)


def reference_segmenter(name: str) -> StoredPixels:
    """The network and the pictures of a reference in `trackers`."""
    tensors, told = stored("trackers", name)
    extra = told["options"]["extra"]
    wiring = WIRINGS[96, (1, 2, 7, 2)] if told["options"]["kind"] == "hiera_t" else TINY
    network = load_network(
        remade(told), torch.device("cpu"), torch.float32, image_side=256, wiring=wiring
    )
    options = Sam2Options() if extra else Sam2Options.benchmark()
    small = tensors["frames_u8_64"].permute(0, 3, 1, 2).float() / 255
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    mean, std = (torch.tensor(c)[:, None, None] for c in (IMAGENET_MEAN, IMAGENET_STD))
    return StoredPixels(Sam2Segmenter(network, options), (large - mean) / std)


def selection(recall: Recall, slots: int) -> dict[str, Any]:
    """A recall as the references in `parity` write it down."""
    return {
        "memory": [[slots - 1 - m.slot, m.memory.frame_index] for m in recall.maps],
        "ptr_pos": [p.distance for p in recall.pointers],
        "ptr_frames": [p.memory.frame_index for p in recall.pointers],
    }
