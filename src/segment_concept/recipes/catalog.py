"""How to track, by name."""

from dataclasses import replace

from segment_concept.recipes.recipe import BUNDLED, SAM2_FILES, Recipe, Sam2Size
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.refinement import PromptRefiner
from segment_concept.tracking.triggers.base import AnyOf
from segment_concept.tracking.triggers.scene_change import AdaptiveContent, fast_hsv, published_hsv

# SeC's release is Apache-2.0. Its language model derives from Qwen2.5-3B-Instruct, whose license
# allows research and evaluation only (docs/checkpoints.md has the sources).
SEC_4B_LICENSE = "Apache-2.0; language model: Qwen Research License, non-commercial"

# Weight of the motion IoU in SAMURAI's configurations: for Hiera-large, and for smaller sizes.
SAMURAI_LARGE, SAMURAI_SMALLER = 0.15, 0.25


def sec_compact() -> Recipe:
    """The default: the bundled model with SeC's memory and the compact concept encoder.

    The concept is queried at cuts, and when memory finds an object again that was denied. The
    memory spans 7 frames instead of SeC's 22, because on held-out synthetic clips a larger input is
    worth more for the same CPU time, and has the prompted frame and 3 of the others. Of a video
    file not every frame is tracked where the film is calm.
    """
    return replace(
        _bundled("sec_compact"),
        policy=ReliableMemory(slots=7, pointers=8, ranks=(0, 2, 5)),
        trigger=AnyOf((AdaptiveContent(), fast_hsv())),
        concept_margin=0.0,
        every="auto",
        about="the default; runs on a CPU; recognizes the object after cuts",
    )


def sam2_compact() -> Recipe:
    """The bundled model with SAM 2's memory: the most recent frames."""
    return replace(
        _bundled("sam2_compact"),
        policy=RecentMemory(slots=7, pointers=8),
        about="the same network with SAM 2's memory and no concept, for comparison",
    )


def samurai_compact() -> Recipe:
    """The bundled model with SAMURAI's memory and its constants for small networks."""
    return replace(
        _bundled("samurai_compact"),
        policy=MotionMemory(slots=7, pointers=8, motion_weight=SAMURAI_SMALLER),
        about="the same network with SAMURAI's memory and no concept, for comparison",
    )


def sam2long_compact() -> Recipe:
    """The bundled model with SAM2Long's tree of three hypotheses, streaming."""
    return replace(
        _bundled("sam2long_compact"),
        policy=TreeMemory(slots=7, pointers=8),
        about="the same network with SAM2Long's memory and no concept, for comparison",
    )


def _bundled(name: str) -> Recipe:
    """The bundled model without concept queries."""
    return Recipe(
        name=name,
        network="compact",
        weights=BUNDLED,
        refiner=PromptRefiner(),
        guided_contours=True,
        weights_size="10 MB",
    )


def sam2(size: Sam2Size) -> Recipe:
    """SAM 2.1 as published."""
    words = size.replace("_", " ")
    return Recipe(
        name=f"sam2_{size}",
        network="sam2",
        weights=f"facebook/sam2.1-hiera-{size.replace('_', '-')}",
        about=f"SAM 2.1 {words} as published; GPU recommended",
        weights_size=SAM2_FILES[size],
    )


def samurai(size: Sam2Size) -> Recipe:
    """SAMURAI on SAM 2.1 as published."""
    weight = SAMURAI_LARGE if size == "large" else SAMURAI_SMALLER
    return replace(
        sam2(size),
        name=f"samurai_{size}",
        policy=MotionMemory(motion_weight=weight),
        about="SAM 2.1 with SAMURAI's motion model; GPU recommended",
    )


def sam2long(size: Sam2Size) -> Recipe:
    """SAM2Long on SAM 2.1; streaming, see `TreeMemory`."""
    return replace(
        sam2(size),
        name=f"sam2long_{size}",
        policy=TreeMemory(),
        about="SAM 2.1 with SAM2Long's tree of three hypotheses; GPU recommended",
    )


def edgetam() -> Recipe:
    """EdgeTAM as published: a small image encoder, condensed memories, SAM 2's rules.

    With 13.9 million parameters it is the step between the bundled model and SAM 2.1 tiny (38.9)
    on a machine without a GPU.
    """
    return Recipe(
        name="edgetam",
        network="edgetam",
        weights="yonigozlan/EdgeTAM-hf",
        about="EdgeTAM as published; between the bundled model and SAM 2.1 tiny",
        weights_size="56 MB",
    )


def sec_edgetam() -> Recipe:
    """EdgeTAM with SeC's memory and triggers, and the concept encoder of the bundled model.

    On frames where it is queried, the concept encoder decides from the keyframes whether the masks
    that EdgeTAM proposes show the object at all (`VerifyingSegmenter`). Slots and pointers are
    EdgeTAM's; trigger and margin are those of `sec_compact`. Neither was chosen for EdgeTAM.
    """
    like = sec_compact()
    return replace(
        edgetam(),
        name="sec_edgetam",
        policy=ReliableMemory(slots=7, pointers=16),
        trigger=like.trigger,
        concept_margin=like.concept_margin,
        concept_weights=BUNDLED,
        about="EdgeTAM with SeC's memory; the bundled model detects absence after cuts",
    )


def sec_4b() -> Recipe:
    """SeC-4B as published: SAM 2.1's large segmenter, and InternVL2.5-4B queried at scene changes.

    SeC's parameters, by their names in its release:

    - `mllm_memory_size` (7) is `keyframes`: the first keyframe and the newest six others;
    - the scene-change threshold (0.35) is `above` of the trigger: `HistogramShift(above=0.35)`;
    - `num_maskmem` (22), the number of mask memories, is `slots` of `ReliableMemory`; its filter,
      predicted IoU > 0.3 with the object visible, is `min_iou`;
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
        about="SeC as published, with a vision-language model; needs a GPU",
        weights_size="14 GB",
        license=SEC_4B_LICENSE,
    )


def cutie_base() -> Recipe:
    """Cutie, base size, trained on MEGA: its default setting, 480 pixels and the newest frames."""
    return Recipe(
        name="cutie_base",
        network="cutie",
        weights="cutie-base-mega.pth",
        about="Cutie; mask prompts only; GPU recommended",
        weights_size="140 MB",
        license="MIT",
    )


def xmem() -> Recipe:
    """XMem in its default setting: 480 pixels with long-term memory."""
    return Recipe(
        name="xmem",
        network="xmem",
        weights="XMem.pth",
        about="XMem; mask prompts only; GPU recommended",
        weights_size="249 MB",
        license="MIT",
    )
