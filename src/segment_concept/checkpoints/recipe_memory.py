"""Estimate the memory of a recipe from the shapes of its network, without downloading weights.

The bytes of the weights are exact, the working memory is an estimate (see `memory_estimate`).
"""

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import torch
from torch import nn

from segment_concept.baselines import PUBLISHED as PROPAGATION
from segment_concept.checkpoints.edgetam.load import PUBLISHED as EDGETAM
from segment_concept.checkpoints.load import sec_placement, torch_dtype
from segment_concept.checkpoints.memory_estimate import (
    SPARE,
    SecSizes,
    Shapes,
    segmenting,
    smaller_placements,
)
from segment_concept.checkpoints.propagation import NAMES
from segment_concept.checkpoints.sam2.load import HUB_NAMES
from segment_concept.checkpoints.sec.files import PUBLISHED
from segment_concept.models.edgetam.network import EdgeTamNetwork
from segment_concept.models.edgetam.sizes import EdgeTamSizes
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B, with_vocabulary
from segment_concept.models.sam2.network import Sam2Network, SamNetwork
from segment_concept.models.sam2.sizes import SEC_4B, SIZES, HeadSizes, Sam2Sizes
from segment_concept.recipes import Recipe
from segment_concept.recipes.recipe import LARGEST_SIDE, SIDE_STEPS, SQUARE
from segment_concept.tracking.policies.sam2long import TreeMemory

_FRAME = 30 * 54  # memory tokens of an 854x480 frame, the size to which Cutie and XMem resize
_REMEMBERED = {"cutie": 6 * _FRAME, "xmem": 10 * _FRAME + 10_000}  # tokens; XMem's prototypes too
_AFFINITIES = 3  # token-pixel matrices alive together: similarity, its top k, softmax weights
_ENCODER = 64 * _FRAME * 16 * 16  # activations of the ResNet at 1/2 and 1/4 of 480p


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes a recipe needs to track one object; `variant`: the changed recipe fields, or ""."""

    variant: str
    bytes: int


def estimated_needs(recipe: Recipe, device: torch.device) -> tuple[Need, ...]:
    """Estimate the need on one device: the recipe first, then variants that need less.

    Empty if the shapes are unknown before the weights are read: for the bundled model, and for
    weights other than the published ones.
    """
    if recipe.network in ("sam2", "edgetam"):
        return _segmenter(recipe, device)
    if recipe.network == "sec":
        return _sec(recipe, device)
    if recipe.network in NAMES:
        return _propagation(recipe)
    return ()


def smaller_recipes(recipe: Recipe, device: torch.device) -> list[tuple[str, Recipe]]:
    """Variants of a recipe that need less memory, the mildest first, by the changed arguments."""
    if recipe.network not in SQUARE:
        return []
    found: list[tuple[str, Recipe]] = []
    words = ""
    if torch_dtype(recipe.dtype, device).itemsize > torch.bfloat16.itemsize:
        recipe, words = replace(recipe, dtype="bfloat16"), "dtype='bfloat16'"
        found.append((words, recipe))
    if recipe.network == "sec":
        if not recipe.four_bit:
            found.append((_also(words, "four_bit=True"), replace(recipe, four_bit=True)))
        found += [
            (_also(words, f"keyframes={count}"), replace(recipe, keyframes=count))
            for count in (3, 1)
            if count < recipe.keyframes
        ]
    found += [
        (_also(words, f"size={side}"), recipe.resized(side))
        for side in (768, 512, 256)
        if side < (recipe.image_side or LARGEST_SIDE) and side % SIDE_STEPS[recipe.network] == 0
    ]
    return found


def _also(words: str, more: str) -> str:
    return f"{words}, {more}" if words else more


def _segmenter(recipe: Recipe, device: torch.device) -> tuple[Need, ...]:
    """The need of SAM 2.1 or EdgeTAM."""
    made = _published(recipe)
    if made is None:
        return ()
    sizes, weights = made
    histories = recipe.policy.paths if isinstance(recipe.policy, TreeMemory) else 1
    dtype = torch_dtype(recipe.dtype, device)
    return (Need("", int((weights + segmenting(sizes, histories)) * dtype.itemsize)),)


def _published(recipe: Recipe) -> tuple[HeadSizes, int] | None:
    """Sizes and number of weights of a published network; None for weights of one's own."""
    sizes: HeadSizes | None = None
    if recipe.network == "edgetam" and recipe.weights == EDGETAM:
        sizes = EdgeTamSizes()
    elif recipe.network == "sam2":
        size = next((s for s, name in HUB_NAMES.items() if name == recipe.weights), None)
        sizes = None if size is None else SIZES[size]
    if sizes is None:
        return None
    return replace(sizes, image_side=recipe.image_side or sizes.image_side), _parameters(sizes)


@cache
def _parameters(sizes: HeadSizes) -> int:
    """Number of weights of SAM 2.1 or EdgeTAM."""
    with torch.device("meta"):
        if isinstance(sizes, EdgeTamSizes):
            network: SamNetwork = EdgeTamNetwork(sizes)
        else:
            assert isinstance(sizes, Sam2Sizes)
            network = Sam2Network(sizes)
    return sum(t.numel() for t in network.state_dict().values())


def _sec(recipe: Recipe, device: torch.device) -> tuple[Need, ...]:
    if recipe.weights != PUBLISHED:
        return ()
    placement = sec_placement(recipe, device, device)
    sizes = replace(SEC_4B, image_side=recipe.image_side or SEC_4B.image_side)
    bulk = replace(_sec_4b(), sizes=sizes, keyframes=recipe.keyframes)
    ways = (("", placement), *smaller_placements(placement))
    return tuple(Need(how, bulk.bytes_on(str(device), way)) for how, way in ways)


@lru_cache(maxsize=1)
def _sec_4b() -> SecSizes:
    size = with_vocabulary(INTERNVL2_5_4B, INTERNVL2_5_4B.language.vocabulary + 1)  # and [SEG]
    with torch.device("meta"):
        segmenter, concept = Sam2Network(SEC_4B), ConceptNetwork(size)
    return SecSizes.of(_shapes(segmenter), _shapes(concept), SEC_4B, size)


def _propagation(recipe: Recipe) -> tuple[Need, ...]:
    published = PROPAGATION.get(recipe.weights.rsplit("/", 1)[-1])
    if published is None:
        return ()
    affinities = _AFFINITIES * _REMEMBERED[recipe.network] * _FRAME
    dtype = published.parameters + SPARE * (affinities + _ENCODER)
    return (Need("", int(dtype * torch.float32.itemsize)),)


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(t.shape) for name, t in network.state_dict().items()}
