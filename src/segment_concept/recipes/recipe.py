"""A recipe: a complete, named configuration of a tracker."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

from segment_concept.tracking.api import Every
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.refinement import PromptRefiner
from segment_concept.tracking.triggers.base import Never, Trigger
from segment_concept.types import InputError

Network: TypeAlias = Literal["compact", "sam2", "edgetam", "sec", "cutie", "xmem"]
DType: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Compiled: TypeAlias = Literal["auto", "no", "graphs", "inductor"]
Sam2Size: TypeAlias = Literal["tiny", "small", "base_plus", "large"]
WITH_CONCEPT: frozenset[Network] = frozenset({"compact", "sec"})
SQUARE: frozenset[Network] = frozenset({"sam2", "edgetam", "sec"})  # their input is a square
# Its side is a multiple of this many pixels: image encoders halve it five times, and EdgeTAM
# divides the map at 1/16 among 16 x 16 tokens.
SIDE_STEPS: Mapping[Network, int] = {"sam2": 32, "sec": 32, "edgetam": 256}
SMALLEST_SIDE, LARGEST_SIDE = 128, 1024  # the published networks were trained at 1024
WITH_OTHERS_CONCEPT: frozenset[Network] = frozenset({"sam2", "edgetam"})  # `concept_weights`
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
        concept_margin: extra presence logit that a mask needs where the concept encoder is queried.
            Objects that were absent there return only if the concept encoder confirms it. None: no
            margin and no such confirmation, as SeC was published.
        non_overlapping: no two objects claim the same pixel.
        guided_contours: contours follow the edges of the picture when masks are enlarged to the
            size of the video. Chosen for the compact network; not measured with others.
        short_side: the shorter side of the compact network's input, in pixels.
        image_side: side of the square input of SAM 2.1, EdgeTAM and SeC's segmenter, in pixels, a
            multiple of 32 (EdgeTAM: 256) from 128 to 1024; None for the 1024 at which they were
            trained.
        dtype: number type of SAM 2.1, EdgeTAM and SeC; `auto` is bfloat16 on a GPU that computes
            with it, and float32 elsewhere. The compact network, Cutie and XMem have float32 only.
        concept_dtype: that of SeC's language model, if it is another one; `auto` for the same.
        compiled: how the networks of SAM 2.1, EdgeTAM and SeC's segmenter run. `inductor` compiles
            them when they are first used, by `torch.compile`; `graphs` captures them as CUDA graphs
            on an NVIDIA GPU; `no` runs them as they are, and so does `auto`.
        every: which frames of a video file are tracked: 1 for every frame; with `auto` one in two
            to four where a film is calm, and the frames between are carried from both sides by
            optical flow (`Tracker.every`). Cutie and XMem track every frame.
        concept_weights: a compact model whose concept encoder SAM 2.1 or EdgeTAM uses, as
            `weights`; empty for none.
        tokenizer: folder of SeC's tokenizer, for weights that come without one; empty to look
            beside the weights, in a folder `tokenizer` there, and on the hub.
        four_bit: keep the layers of SeC's language model in 4 bits (needs bitsandbytes).
        about: one line for the list of recipes.
        weights_size: size of the weights, for the list.
        license: license of the weights, for the list.

    Raises:
        InputError: the network has no concept encoder, and there is a trigger; or it cannot have
            this number type or input size, or cannot be compiled.
    """

    name: str
    network: Network
    weights: str
    policy: MemoryPolicy = field(default_factory=RecentMemory)
    trigger: Trigger = field(default_factory=Never)
    refiner: PromptRefiner | None = None
    keyframes: int = 7
    concept_margin: float | None = None
    non_overlapping: bool = False
    guided_contours: bool = False
    short_side: int = 448
    image_side: int | None = None
    dtype: DType = "auto"
    concept_dtype: DType = "auto"
    compiled: Compiled = "auto"
    every: Every = 1
    concept_weights: str = ""
    tokenizer: str = ""
    four_bit: bool = False
    about: str = ""
    weights_size: str = ""
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
        if self.concept_weights and self.network not in WITH_OTHERS_CONCEPT:
            raise ValueError(f"{self.network} has no use for the concept encoder of another model")
        self._check_numbers()
        if not isinstance(self.trigger, Never):
            self.check_queryable()

    def _check_numbers(self) -> None:
        """Refuse a number type, an input side or a compilation that the network does not have.

        Raises:
            InputError: see above.
        """
        for name, value, kind in (
            ("dtype", self.dtype, DType),
            ("concept_dtype", self.concept_dtype, DType),
            ("compiled", self.compiled, Compiled),
            ("every", self.every, Every),
        ):
            if value not in get_args(kind):
                raise InputError(
                    f"{name}={value!r}: expected one of {', '.join(map(str, get_args(kind)))}"
                )
        if self.network not in SQUARE:
            self._check_fixed_network()
        elif self.image_side is not None:
            step, side = SIDE_STEPS[self.network], self.image_side
            if side % step or not SMALLEST_SIDE <= side <= LARGEST_SIDE:
                raise InputError(
                    f"an input side of {side} pixels: recipe {self.name} takes multiples of {step} "
                    f"from {max(step, SMALLEST_SIDE)} to {LARGEST_SIDE}, such as 768 or 512"
                )

    def _check_fixed_network(self) -> None:
        """Refuse what only networks with a square input have. Raises InputError."""
        if self.dtype not in ("auto", "float32"):
            raise InputError(
                f"recipe {self.name} computes in float32 only, got dtype={self.dtype!r}: leave it "
                "out, or use a recipe sam2_*, samurai_*, sam2long_*, edgetam or sec_4b"
            )
        if self.compiled not in ("auto", "no"):
            raise InputError(
                f"recipe {self.name} cannot be compiled: leave it out, or use a recipe sam2_*, "
                "samurai_*, sam2long_*, edgetam or sec_4b"
            )
        if self.every != 1 and self.network != "compact":
            raise InputError(f"recipe {self.name} tracks every frame: set every=1")
        if self.image_side is not None:
            raise InputError(
                f"recipe {self.name} has no square input: leave image_side out"
                + (" and set short_side" if self.network == "compact" else "")
            )

    def resized(self, size: int) -> "Recipe":
        """The recipe with another input size, in pixels.

        It is the side of the square that SAM 2.1, EdgeTAM and SeC read, and the shorter side of the
        compact network's input.

        Raises:
            InputError: the network does not take this size.
        """
        if self.network in SQUARE:
            return replace(self, image_side=size)
        if self.network == "compact":
            try:
                return replace(self, short_side=size)
            except ValueError as error:
                raise InputError(f"a size of {size} pixels: {error}") from error
        raise InputError(
            f"recipe {self.name} always reads 480 lines: leave the size out, or use a recipe of "
            "another network"
        )

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
        if self.network not in WITH_CONCEPT and not self.concept_weights:
            raise InputError(
                f"recipe {self.name} has no concept encoder, so triggers, cut lists and offline "
                "mode have no effect: leave them out, or use sec_compact, sec_edgetam or sec_4b"
            )
