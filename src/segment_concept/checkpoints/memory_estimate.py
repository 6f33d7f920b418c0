"""Check that a SeC model fits into GPU memory before loading it.

The bytes of the weights are exact. The working memory is an estimate: the largest tensors that
are alive together, times 1.5 for the allocator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import torch

from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.checkpoints.sec.internvl_keys import UNUSED
from segment_concept.models.edgetam.sizes import EdgeTamSizes
from segment_concept.models.internvl.encoder import IMAGES_AT_ONCE
from segment_concept.models.internvl.sizes import TOKENS_PER_IMAGE, ConceptSize
from segment_concept.models.sam2.sizes import HeadSizes, Sam2Sizes
from segment_concept.types import InputError

GIB = 1 << 30
SPARE = 1.5  # memory the allocator reserves, relative to the memory requested
BYTES_IN_4_BIT = 0.5 + 4 / 64  # per weight in bitsandbytes' NF4: 4 bits, and a scale for every 64
KEYFRAMES = 7  # per object, as published
_LINEAR = ("_proj.weight", ".wqkv.weight", ".wo.weight", ".w1.weight", ".w2.weight", ".w3.weight")
PATCHES = 4 * TOKENS_PER_IMAGE + 1  # tokens per image in the vision network

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class SecPlacement:
    """Devices and data types of the parts of a SeC model.

    Args:
        segmenter: device of the segmenter.
        dtype: of the segmenter's weights.
        concept: devices and data types of the concept network.
    """

    segmenter: str = "cpu"
    dtype: torch.dtype = torch.float32
    concept: Placement = field(default_factory=Placement)

    @classmethod
    def on(cls, device: str, dtype: torch.dtype = torch.float32) -> "SecPlacement":
        """Place all parts on one device in one data type."""
        return cls(device, dtype, Placement.on(device, dtype))


@dataclass(frozen=True, slots=True)
class SecSizes:
    """Size of a SeC model: number of weights per part, and the shapes of its activations."""

    segmenter: int
    vision: int
    decoder: int  # the language model's linear layers, which can be quantized to 4 bits
    language: int  # the rest of the language model, and the projection after it
    sizes: Sam2Sizes
    size: ConceptSize
    keyframes: int = KEYFRAMES  # per object

    @classmethod
    def of(
        cls, segmenter: Shapes, concept: Shapes, sizes: Sam2Sizes, size: ConceptSize
    ) -> "SecSizes":
        """Count the weights from their shapes, under published names or ours."""
        counts = dict.fromkeys(("vision", "decoder", "language"), 0)
        for name, shape in concept.items():
            if name not in UNUSED:
                counts[_part(name)] += prod(shape)
        total = sum(prod(shape) for shape in segmenter.values())
        return cls(segmenter=total, **counts, sizes=sizes, size=size)

    def bytes_on(self, device: str, placement: SecPlacement) -> int:
        """Bytes the model occupies on a device while it tracks one object."""
        concept = placement.concept
        width, wide = concept.dtype.itemsize, placement.dtype.itemsize
        decoder = BYTES_IN_4_BIT if concept.four_bit else width
        parts = (
            (placement.segmenter, (self.segmenter + segmenting(self.sizes)) * wide),
            (concept.vision, self.vision * width + self._vision_activations() * width),
            (
                concept.language,
                self.decoder * decoder
                + self.language * width
                + self._language_activations() * width,
            ),
        )
        return int(sum(needed for place, needed in parts if place == device))

    def _vision_activations(self) -> float:
        """Number of activations in one layer of the vision network over all images of a pass."""
        vision = self.size.vision
        return SPARE * IMAGES_AT_ONCE * PATCHES * (vision.mlp_width + 8 * vision.width)

    def _language_activations(self) -> float:
        """Number of activations in one language-model layer over a full bank, plus the cache."""
        language = self.size.language
        tokens = (self.keyframes + 2) * TOKENS_PER_IMAGE
        layer = tokens * (2 * language.mlp_width + 6 * language.width)
        return SPARE * (layer + self.size.cache_bytes(self.keyframes, 1))


def segmenting(sizes: HeadSizes, histories: int = 1) -> float:
    """Estimate the number of activations of SAM 2.1, SeC's segmenter or EdgeTAM.

    Counts the first stage of the image encoder, and the keys and values of one layer of the memory
    attention for each hypothesis that the policy keeps (`histories`).
    """
    if isinstance(sizes, EdgeTamSizes):
        first, tokens = sizes.trunk.widths[0], sizes.latents + sizes.side**2
    else:
        assert isinstance(sizes, Sam2Sizes)
        first, tokens = sizes.trunk.width, sizes.grid**2
    encoder = (sizes.image_side // 4) ** 2 * first * 16
    memories = sizes.slots * tokens * (2 * sizes.width + sizes.memory_width)
    return SPARE * (encoder + histories * memories)


def free_bytes(device: str) -> int | None:
    """Free bytes on a GPU; None for devices without memory of their own or without a counter."""
    if torch.device(device).type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return free


def check_memory(sizes: SecSizes, placement: SecPlacement) -> None:
    """Raise InputError if the model does not fit.

    Raises:
        InputError: a GPU has too little free memory; the message gives the memory needed and the
            configurations that would fit.
    """
    concept = placement.concept
    for device in {placement.segmenter, concept.vision, concept.language}:
        free, needed = free_bytes(device), sizes.bytes_on(device, placement)
        if free is None or needed <= free:
            continue
        fitting = [
            f"{how} ({_gib(other)})"
            for how, smaller in smaller_placements(placement)
            if (other := sizes.bytes_on(device, smaller)) <= free
        ]
        raise InputError(
            f"{device} has {_gib(free)} free, and SeC needs about {_gib(needed)} there. "
            f"{'These fit: ' + '; '.join(fitting) if fitting else 'No configuration fits'}. "
            "Otherwise free GPU memory, use --device cpu, or choose a smaller recipe such as "
            "sec_compact"
        )


def smaller_placements(placement: SecPlacement) -> list[tuple[str, SecPlacement]]:
    """Configurations that need less memory, the smallest change first."""
    options = []
    half = placement
    if max(placement.dtype.itemsize, placement.concept.dtype.itemsize) > torch.bfloat16.itemsize:
        half = SecPlacement(
            placement.segmenter, torch.bfloat16, replace(placement.concept, dtype=torch.bfloat16)
        )
        options.append(("dtype='bfloat16'", half))
    in_words = "dtype='bfloat16', " if half is not placement else ""
    if not placement.concept.four_bit:
        four = replace(half, concept=replace(half.concept, four_bit=True))
        options.append((f"{in_words}four_bit=True", four))
    if placement.concept.language != "cpu":
        split = replace(half, concept=replace(half.concept, language="cpu", four_bit=False))
        options.append((f"{in_words}language_device='cpu'", split))
    return options


def _part(name: str) -> str:
    if "language_model" in name:
        linear = ".layers." in name and name.endswith(_LINEAR)
        return "decoder" if linear else "language"
    return "language" if name.startswith(("head.", "text_hidden_fcs.")) else "vision"


def _gib(number: float) -> str:
    return f"{number / GIB:.1f} GiB"
