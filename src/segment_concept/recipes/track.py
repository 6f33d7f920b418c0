"""How to track, by name."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from segment_concept.tracking.policies import MemoryPolicy, RecentMemory, ReliableMemory
from segment_concept.tracking.triggers import Never, Trigger

Network: TypeAlias = Literal["compact", "sam2"]

BUNDLED = "bundled:sec-compact"  # the weights inside this package


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a tracker does.

    Attributes:
        name: under which it is listed.
        network: which family the weights belong to.
        weights: a hub id, a folder, a file, or `bundled:...` for those inside the package.
        policy: which memories are recalled and which masks believed.
        trigger: when the concept encoder is asked.
        keyframes: size of an object's keyframe bank (SeC's `mllm_memory_size`).
        exclusive: no two objects claim the same pixel.
        short_side: pixels of the shorter side of the compact network's input.
        about: one line for the table of recipes.
        size: of the weights, for the same table.
        licence: of the weights.
    """

    name: str
    network: Network
    weights: str
    policy: MemoryPolicy = field(default_factory=RecentMemory)
    trigger: Trigger = field(default_factory=Never)
    keyframes: int = 7
    exclusive: bool = False
    short_side: int = 256
    about: str = ""
    size: str = ""
    licence: str = "Apache-2.0"

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")
        if self.short_side < 64:
            raise ValueError(f"short_side must be at least 64 pixels, got {self.short_side}")


def sec_compact() -> Recipe:
    """The default: the bundled model with a long memory of what was segmented well."""
    return Recipe(
        name="sec_compact",
        network="compact",
        weights=BUNDLED,
        policy=ReliableMemory(slots=7, pointers=8),
        about="bundled, works offline on a laptop's CPU; memory of reliable frames",
        size="9 MB",
    )


def sam2_compact() -> Recipe:
    """The bundled model with SAM 2's memory: the last frames, however good they were."""
    return replace(
        sec_compact(),
        name="sam2_compact",
        policy=RecentMemory(slots=7, pointers=8),
        about="bundled; SAM 2's memory of the latest frames, for comparison",
    )


def sam2_tiny() -> Recipe:
    """SAM 2.1 with Hiera-tiny, as published."""
    return _sam2("tiny", "156 MB")


def sam2_small() -> Recipe:
    """SAM 2.1 with Hiera-small, as published."""
    return _sam2("small", "184 MB")


def sam2_base_plus() -> Recipe:
    """SAM 2.1 with Hiera-base+, as published."""
    return _sam2("base_plus", "324 MB")


def sam2_large() -> Recipe:
    """SAM 2.1 with Hiera-large, as published."""
    return _sam2("large", "898 MB")


def _sam2(size: str, megabytes: str) -> Recipe:
    return Recipe(
        name=f"sam2_{size}",
        network="sam2",
        weights=f"facebook/sam2.1-hiera-{size.replace('_', '-')}",
        about=f"SAM 2.1 {size.replace('_', ' ')} as published; fetched from the hub, wants a GPU",
        size=megabytes,
    )
