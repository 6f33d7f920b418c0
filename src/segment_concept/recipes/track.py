"""How to track, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from segment_concept.tracking.motion import MotionMemory
from segment_concept.tracking.offline import Offline
from segment_concept.tracking.policies import MemoryPolicy, RecentMemory, ReliableMemory
from segment_concept.tracking.tree import TreeMemory
from segment_concept.tracking.triggers import (
    Adaptive,
    AnyOf,
    Never,
    Trigger,
    fast_hsv,
    published_hsv,
)
from segment_concept.tracking.uncertainty import uncertain

Network: TypeAlias = Literal["compact", "sam2", "sec", "cutie", "xmem"]
Numbers: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Sam2Size: TypeAlias = Literal["tiny", "small", "base_plus", "large"]

BUNDLED = "bundled:sec-compact"  # the weights inside this package

SAM2_FILES: Mapping[Sam2Size, str] = {
    "tiny": "156 MB",
    "small": "184 MB",
    "base_plus": "324 MB",
    "large": "898 MB",
}
# The weight of the forecast in SAMURAI's configurations: for Hiera-large, and for all others.
SAMURAI_LARGE, SAMURAI_SMALLER = 0.15, 0.25


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
        keyframes: size of an object's keyframe bank (SeC's `mllm_memory_size`).
        exclusive: no two objects claim the same pixel.
        short_side: pixels of the shorter side of the compact network's input.
        concept_reserve: logits by which it must be more than likely that a proposal is the object,
            where the compact model's concept is asked at a cut; in doubt within a shot, none.
        numbers: in which SAM 2.1 and SeC compute; `auto` is bfloat16 on a GPU, else float32.
        concept_numbers: the same for SeC's concept network.
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
    keyframes: int = 7
    exclusive: bool = False
    short_side: int = 448
    concept_reserve: float = 0.0
    numbers: Numbers = "float32"
    concept_numbers: Numbers = "auto"
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


def sec_compact() -> Recipe:
    """The default: the bundled model with a memory of what was segmented well, and concepts.

    Its concept costs about what a frame does, so it is asked at cuts of both kinds, to another
    place and to another view of the same, and now and then while an object is in doubt. Of SeC's 22
    memories it has 7: on a CPU a finer input is worth more than the others, on held-out synthetic
    clips. What a concept has to outweigh at a cut was chosen on real video that nothing is reported
    on (`benchmarks/held_out_video.py`; docs/LOG.md for both).
    """
    return replace(
        _bundled("sec_compact"),
        policy=ReliableMemory(slots=7, pointers=8),
        trigger=AnyOf((Adaptive(), fast_hsv(), uncertain())),
        concept_reserve=1.5,
        about="bundled, works offline on a laptop's CPU; recognises the object after cuts",
    )


def sec_compact_offline() -> Recipe:
    """The default in two passes: recognised from the most diverse keyframes of the whole video."""
    return replace(
        sec_compact(),
        name="sec_compact_offline",
        offline=Offline(),
        about="bundled; two passes over the whole video, both directions, for `track`",
    )


def sam2_compact() -> Recipe:
    """The bundled model with SAM 2's memory: the last frames, however good they were."""
    return replace(
        _bundled("sam2_compact"),
        policy=RecentMemory(slots=7, pointers=8),
        about="bundled; SAM 2's memory of the latest frames, for comparison",
    )


def samurai_compact() -> Recipe:
    """The bundled model with SAMURAI's memory, with its constants for small networks."""
    return replace(
        _bundled("samurai_compact"),
        policy=MotionMemory(slots=7, pointers=8, motion_weight=SAMURAI_SMALLER),
        about="bundled; SAMURAI's choice and memory by motion, for comparison",
    )


def sam2long_compact() -> Recipe:
    """The bundled model with SAM2Long's tree of three hypotheses, streaming."""
    return replace(
        _bundled("sam2long_compact"),
        policy=TreeMemory(slots=7, pointers=8),
        about="bundled; SAM2Long's three hypotheses, the best so far is shown, for comparison",
    )


def _bundled(name: str) -> Recipe:
    """The model inside the package, tracking by memory alone."""
    return Recipe(
        name=name,
        network="compact",
        weights=BUNDLED,
        size="10 MB",
    )


def sam2(size: Sam2Size) -> Recipe:
    """SAM 2.1 as published."""
    words = size.replace("_", " ")
    return Recipe(
        name=f"sam2_{size}",
        network="sam2",
        weights=f"facebook/sam2.1-hiera-{size.replace('_', '-')}",
        about=f"SAM 2.1 {words} as published; fetched from the hub, wants a GPU",
        size=SAM2_FILES[size],
    )


def samurai(size: Sam2Size) -> Recipe:
    """SAMURAI on SAM 2.1 as published."""
    weight = SAMURAI_LARGE if size == "large" else SAMURAI_SMALLER
    return replace(
        sam2(size),
        name=f"samurai_{size}",
        policy=MotionMemory(motion_weight=weight),
        about="SAMURAI: SAM 2.1's weights, masks chosen and remembered by motion too; wants a GPU",
    )


def sam2long(size: Sam2Size) -> Recipe:
    """SAM2Long on SAM 2.1; streaming, see `TreeMemory`."""
    return replace(
        sam2(size),
        name=f"sam2long_{size}",
        policy=TreeMemory(),
        about="SAM2Long: SAM 2.1's weights, three hypotheses, the best so far is shown; a GPU",
    )


def sec_4b() -> Recipe:
    """SeC-4B as published: SAM 2.1's large segmenter, and InternVL2.5-4B asked at scene changes.

    SeC's own knobs, by the names that they have in its release and its ports:

    - `mllm_memory_size` (7) is `keyframes`: the first keyframe and the newest six others;
    - the scene-change threshold (0.35) is `above` of the trigger: `HsvShift(above=0.35)`;
    - `num_maskmem` (22), the mask memories attended to, is `slots` of `ReliableMemory`, and its
      filter, predicted IoU > 0.3 with the object visible, is `min_iou`;
    - the object score above which a frame becomes a keyframe (1) is `keyframe_presence` of
      `Tracker`.
    """
    return Recipe(
        name="sec_4b",
        network="sec",
        weights="OpenIXCLab/SeC-4B",
        policy=ReliableMemory(slots=22),
        trigger=published_hsv(),
        keyframes=7,
        numbers="auto",
        about="SeC as published: a vision-language model recognises the object after cuts; a GPU",
        size="14 GB",
    )


def sec_4b_offline() -> Recipe:
    """SeC-4B in two passes: the concept comes of the most diverse keyframes of the whole video."""
    return replace(
        sec_4b(),
        name="sec_4b_offline",
        offline=Offline(),
        about="SeC in two passes over the whole video, both directions, for `track`; a GPU",
    )


def cutie_base() -> Recipe:
    """Cutie, base size, trained on MEGA: its default setting, 480 pixels and the newest frames."""
    return Recipe(
        name="cutie_base",
        network="cutie",
        weights="cutie-base-mega.pth",
        about="Cutie: masks propagated from pixel and object memory; shown by masks only; a GPU",
        size="140 MB",
        licence="MIT",
    )


def xmem() -> Recipe:
    """XMem in its default setting: 480 pixels with long-term memory."""
    return Recipe(
        name="xmem",
        network="xmem",
        weights="XMem.pth",
        about="XMem: masks propagated from three memories; shown by masks only; wants a GPU",
        size="249 MB",
        licence="MIT",
    )
