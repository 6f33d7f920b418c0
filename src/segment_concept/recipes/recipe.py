"""recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from segment_concept.tracking.offline import Offline
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.refinement import PromptRefiner
from segment_concept.tracking.triggers.base import Never, Trigger

Network: TypeAlias = Literal["compact", "sam2", "sec", "cutie", "xmem"]
DType: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Sam2Size: TypeAlias = Literal["tiny", "small", "base_plus", "large"]
BUNDLED = "bundled:sec-compact"  # the weights inside this package
SAM2_FILES: Mapping[Sam2Size, str] = {
    "tiny": "156 MB",
    "small": "184 MB",
    "base_plus": "324 MB",
    "large": "898 MB",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a tracker does.

    Attributes:
        name: under which it is listed.
        network: which family the weights belong to.
        weights: a hub id, a folder, a file, or `bundled:...` for those inside the package. For
            Cutie and XMem a published file's name or address, which must be on disk already.
        policy: which memories are recalled and which masks believed. Cutie and XMem have
            memories of their own: of what follows nothing but the last three concerns them.
        trigger: when the concept encoder is asked.
        refiner: further decoder passes for clicks and boxes; None for one pass.
        keyframes: size of an object's keyframe bank (SeC's `mllm_memory_size`).
        exclusive: no two objects claim the same pixel.
        short_side: pixels of the shorter side of the compact network's input.
        concept_margin: extra presence logit that a mask needs on the first frame of a shot, if the
            concept encoder was queried. Within a shot there is no margin.
        numbers: in which SAM 2.1 and SeC compute; `auto` is bfloat16 on a GPU, else float32.
        concept_numbers: the same for SeC's concept network.
        tokenizer: folder of SeC's tokenizer, for weights that come without one; empty to look
            beside the weights, in a folder `tokenizer` there, and on the hub.
        four_bit: keep the layers of SeC's language model in 4 bits (needs bitsandbytes).
        offline: how the video is tracked in two passes; None for one, frame by frame.
        about: one line for the table of recipes.
        size: of the weights, for the same table.
        licence: of the weights.
    """

    name: str
    network: Network
    weights: str
    policy: MemoryPolicy = field(default_factory=RecentMemory)
    trigger: Trigger = field(default_factory=Never)
    refiner: PromptRefiner | None = None
    keyframes: int = 7
    non_overlapping: bool = False
    short_side: int = 448
    concept_margin: float = 0.0
    dtype: DType = "float32"
    concept_numbers: DType = "auto"
    tokenizer: str = ""
    four_bit: bool = False
    offline: Offline | None = None
    about: str = ""
    size: str = ""
    licence: str = "Apache-2.0"

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")
        if self.short_side < 64:
            raise ValueError(f"short_side must be at least 64 pixels, got {self.short_side}")
        if self.four_bit and self.network != "sec":
            raise ValueError(f"{self.network} has no language model to keep in 4 bits")
        if self.tokenizer and self.network != "sec":
            raise ValueError(f"{self.network} has no language model that needs a tokenizer")
