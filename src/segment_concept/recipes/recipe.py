"""A recipe: a complete, named configuration of a tracker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.refinement import PromptRefiner
from segment_concept.tracking.triggers.base import Never, Trigger
from segment_concept.types import InputError

Network: TypeAlias = Literal["compact", "sam2", "sec", "cutie", "xmem"]
DType: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Sam2Size: TypeAlias = Literal["tiny", "small", "base_plus", "large"]
WITH_CONCEPT: frozenset[Network] = frozenset({"compact", "sec"})
BUNDLED = "bundled:sec-compact"  # the weights inside this package
SAM2_FILES: Mapping[Sam2Size, str] = {
    "tiny": "156 MB",
    "small": "184 MB",
    "base_plus": "324 MB",
    "large": "898 MB",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a tracker does. A variant is `dataclasses.replace(recipe, ...)`.

    Attributes:
        name: the name in the list of recipes.
        network: which family the weights belong to.
        weights: a Hugging Face repository, a folder, a file, or `bundled:...` for the weights
            inside the package. For Cutie and XMem the name or address of a published file, which
            must be on disk.
        policy: which memories a frame attends to, and which proposed mask is taken. Cutie and
            XMem have their own memories: only `name`, `network`, `weights` and the last three
            fields concern them.
        trigger: when the concept encoder is queried.
        refiner: further decoder passes for clicks and boxes; None for one pass.
        keyframes: size of an object's keyframe bank (SeC's `mllm_memory_size`).
        concept_margin: extra presence logit that a mask needs on the first frame of a shot, if the
            concept encoder was queried. Within a shot there is no margin.
        non_overlapping: no two objects claim the same pixel.
        short_side: the shorter side of the compact network's input, in pixels.
        dtype: number type of SAM 2.1 and of SeC's segmenter; `auto` is bfloat16 on a GPU and
            float32 elsewhere.
        concept_dtype: the same for SeC's language model.
        tokenizer: folder of SeC's tokenizer, for weights that come without one; empty to look
            beside the weights, in a folder `tokenizer` there, and on the hub.
        four_bit: keep the layers of SeC's language model in 4 bits (needs bitsandbytes).
        about: one line for the list of recipes.
        size: size of the weights, for the list.
        license: license of the weights, for the list.

    Raises:
        InputError: the network has no concept encoder, and there is a trigger.
    """

    name: str
    network: Network
    weights: str
    policy: MemoryPolicy = field(default_factory=RecentMemory)
    trigger: Trigger = field(default_factory=Never)
    refiner: PromptRefiner | None = None
    keyframes: int = 7
    concept_margin: float = 0.0
    non_overlapping: bool = False
    short_side: int = 448
    dtype: DType = "float32"
    concept_dtype: DType = "auto"
    tokenizer: str = ""
    four_bit: bool = False
    about: str = ""
    size: str = ""
    license: str = "Apache-2.0"

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")
        if self.short_side < 64:
            raise ValueError(f"short_side must be at least 64 pixels, got {self.short_side}")
        if self.four_bit and self.network != "sec":
            raise ValueError(f"{self.network} has no language model to keep in 4 bits")
        if self.tokenizer and self.network != "sec":
            raise ValueError(f"{self.network} has no language model that needs a tokenizer")
        if not isinstance(self.trigger, Never):
            self.check_queryable()

    def check_offline(self) -> None:
        """Refuse a recipe for which a second pass would change nothing.

        Raises:
            InputError: it has no concept encoder, or its trigger never queries it.
        """
        self.check_queryable()
        if isinstance(self.trigger, Never):
            raise InputError(
                f"recipe {self.name} never queries its concept encoder, so offline mode has no "
                "effect: give it a trigger (--trigger), or use sec_compact or sec_4b"
            )

    def check_queryable(self) -> None:
        """Refuse a recipe without a concept encoder, before its weights are looked for.

        Raises:
            InputError: triggers and offline mode have no effect on it.
        """
        if self.network not in WITH_CONCEPT:
            raise InputError(
                f"recipe {self.name} has no concept encoder, so triggers, cut lists and offline "
                "mode have no effect: leave them out, or use sec_compact or sec_4b"
            )
