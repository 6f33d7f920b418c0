"""Recipe -> tracker: the one place where weights are found and a device is chosen."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache, partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from segment_concept.checkpoints.compact import load_compact
from segment_concept.checkpoints.files import find_files
from segment_concept.checkpoints.memory_advice import memory_advice, memory_advised
from segment_concept.checkpoints.propagation import NAMES, load_propagation, propagation_file
from segment_concept.models.compact.backbone_onednn import fused
from segment_concept.models.compact.concept_encoder import CompactConceptEncoder
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.recipes import Recipe, find_recipe
from segment_concept.recipes.catalog import sec_compact
from segment_concept.recipes.recipe import BUNDLED, LARGEST_SIDE, DType
from segment_concept.runtime.cpu_memory import keep_few_programs, keep_freed_memory
from segment_concept.runtime.gpu import allow_tf32, computes_bfloat16, find_device
from segment_concept.runtime.processor import fast_dtype
from segment_concept.runtime.versions import torchvision_misfit
from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.concept import ConceptEncoder
from segment_concept.tracking.segmenter import Segmenter
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import CheckpointError, InputError

if TYPE_CHECKING:  # it loads transformers
    from segment_concept.checkpoints.memory_estimate import SecPlacement
    from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter


def load(
    recipe: str | Recipe = "sec_compact",
    *,
    device: str = "auto",
    language_device: str | None = None,
    size: int | None = None,
    **changes: Any,
) -> VideoTracker:
    """Load a tracker.

    Args:
        recipe: a name from `segment-concept recipes`, or a `Recipe`.
        device: `auto` (a GPU if there is one), or a torch device: `cpu`, `cuda:1`, `mps`.
        language_device: the device of SeC's language model, if it is another one.
        size: the input size in pixels, if it is another one; see `Recipe.resized`.
        changes: fields of the recipe to replace, for example `dtype="float32"`,
            `compiled="inductor"` or `policy=RecentMemory()`.

    Raises:
        InputError: there is no such recipe, field or device.
        DeviceMemoryError: an InputError; the device has too little memory.
        CheckpointError: the weights are missing, damaged or another network's.
    """
    recipe = changed(recipe, changes, size)
    if recipe.network in NAMES:
        _check_language(recipe, language_device)
        return load_propagation(recipe.network, recipe.weights, _ready(device))
    return load_tracker(recipe, device=device, language_device=language_device)


def load_tracker(
    recipe: str | Recipe = "sec_compact",
    *,
    device: str = "auto",
    language_device: str | None = None,
    size: int | None = None,
    **changes: Any,
) -> Tracker:
    """The same for all recipes but Cutie's and XMem's, typed as the `Tracker` that it is.

    Raises:
        InputError: as `load`, or the recipe is Cutie's or XMem's.
        CheckpointError: as `load`.
    """
    recipe = changed(recipe, changes, size)
    if recipe.network in NAMES:
        raise InputError(
            f"recipe {recipe.name} is {NAMES[recipe.network]}, which has neither SAM 2's memory "
            "nor its prompts: use load(), or a recipe of another network"
        )
    _check_language(recipe, language_device)
    main = _ready(device)
    language = main if language_device is None else find_device(language_device)
    with memory_advised(recipe, str(main)):
        segmenter, concept = _parts(recipe, main, language)
    return Tracker(
        segmenter,
        concept=concept,
        policy=recipe.policy,
        trigger=recipe.trigger,
        refiner=recipe.refiner,
        keyframes=recipe.keyframes,
        concept_margin=recipe.concept_margin,
        non_overlapping=recipe.non_overlapping,
        guided_contours=recipe.guided_contours,
        every=recipe.every,
        # The operators of larger networks are large enough to be divided among all threads.
        share_cores=recipe.network == "compact" and main.type == "cpu",
        memory_advice=partial(memory_advice, recipe, str(main)),
    )


def _parts(
    recipe: Recipe, device: torch.device, language: torch.device
) -> tuple[Segmenter, ConceptEncoder | None]:
    """The segmenter of a recipe, and its concept encoder if it has one."""
    if recipe.network == "sec":
        return _sec(recipe, device, language)
    if recipe.network == "compact":
        return _compact(recipe.weights, recipe.short_side, device)
    segmenter = _sam2(recipe, device)
    if recipe.concept_weights:
        return _verifying(segmenter, recipe.concept_weights, device)
    return segmenter, None


def changed(recipe: str | Recipe, changes: Mapping[str, Any], size: int | None = None) -> Recipe:
    """The recipe of that name, or the one given, with some fields and the input size replaced.

    Raises:
        InputError: there is no such recipe or field, or the network does not have this value.
    """
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    known = [field.name for field in fields(recipe)]
    for name in changes:
        if name not in known:
            raise InputError(f"a recipe has no field {name!r}: expected {', '.join(known)}")
    recipe = replace(recipe, **changes)
    return recipe if size is None else recipe.resized(size)


def _ready(name: str) -> torch.device:
    """A device on which a network is about to run."""
    device = find_device(name)
    if device.type == "cpu":
        keep_freed_memory()
        keep_few_programs()
    elif device.type == "cuda":
        allow_tf32()
    return device


def torch_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """The torch number type of that name.

    `auto` is bfloat16 on a GPU that computes with it, else float32.
    """
    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    found: torch.dtype = getattr(torch, dtype)
    return found


def weights_files(recipe: Recipe) -> tuple[Path, ...]:
    """The files that hold a recipe's weights, fetched from the hub if need be."""
    if recipe.network in NAMES:
        return (propagation_file(recipe.network, recipe.weights),)
    own = (bundled_weights(),) if recipe.weights == BUNDLED else find_files(recipe.weights)
    return (*own, _compact_file(recipe.concept_weights)) if recipe.concept_weights else own


def _compact_file(weights: str) -> Path:
    return bundled_weights() if weights == BUNDLED else find_files(weights)[0]


def bundled_weights() -> Path:
    """The compact model inside the package."""
    with as_file(files("segment_concept") / "assets/weights/sec-compact.safetensors") as path:
        return path


@lru_cache(maxsize=8)
def weights_hash(recipe: Recipe) -> str:
    """sha256, in hexadecimal, of the files of weights in their order."""
    digest = hashlib.sha256()
    for path in weights_files(recipe):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _check_language(recipe: Recipe, language_device: str | None) -> None:
    if language_device is not None and recipe.network != "sec":
        raise InputError(
            f"--language-device is only for SeC recipes; recipe {recipe.name} has no language model"
        )


def _compact(
    weights: str, short_side: int, device: torch.device
) -> tuple[CompactSegmenter, CompactConceptEncoder | None]:
    segmenter = load_compact(_compact_file(weights), short_side=short_side).to(device)
    segmenter.trunk = fused(segmenter.trunk, fast_dtype())
    if segmenter.verifier is None:
        return segmenter, None
    return segmenter, CompactConceptEncoder(segmenter)


@contextmanager
def _transformers_importable() -> Iterator[None]:
    """Name a torchvision that does not fit torch, which ends imports of transformers.

    Raises:
        InputError: this is the reason why an import failed.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:
        misfit = torchvision_misfit()
        if misfit is None:
            raise
        raise InputError(misfit) from error


def _sam2(recipe: Recipe, device: torch.device) -> "Sam2Segmenter":
    """SAM 2.1 or EdgeTAM."""
    with _transformers_importable():
        from segment_concept.checkpoints.edgetam.load import load_edgetam
        from segment_concept.checkpoints.sam2.load import load_sam2

    dtype, options = torch_dtype(recipe.dtype, device), _options(recipe)
    side = recipe.image_side
    if recipe.network == "edgetam":
        return load_edgetam(
            recipe.weights,
            device=device,
            dtype=dtype,
            options=options,
            image_side=side or LARGEST_SIDE,
        )
    return load_sam2(recipe.weights, device=device, dtype=dtype, options=options, image_side=side)


def _verifying(
    segmenter: "Sam2Segmenter", concept_weights: str, device: torch.device
) -> tuple[Segmenter, ConceptEncoder]:
    """The segmenter with the concept encoder of a compact model.

    Raises:
        CheckpointError: the compact model is missing or damaged, or has no concept encoder.
    """
    from segment_concept.models.verifying import SeparateConceptEncoder, VerifyingSegmenter

    compact, encoder = _compact(concept_weights, sec_compact().short_side, device)
    if encoder is None or compact.verifier is None:
        raise CheckpointError(
            f"the compact model {concept_weights} has no concept encoder: use {BUNDLED}"
        )
    return (
        VerifyingSegmenter(segmenter.network, segmenter.options, compact.verifier),
        SeparateConceptEncoder(compact, encoder),
    )


def _options(recipe: Recipe) -> "Sam2Options":
    from segment_concept.models.sam2.segmenter import Sam2Options

    return Sam2Options(compiled="no" if recipe.compiled == "auto" else recipe.compiled)


def _sec(
    recipe: Recipe, device: torch.device, language: torch.device
) -> tuple[Segmenter, ConceptEncoder]:
    with _transformers_importable():
        from segment_concept.checkpoints.sec.load import load_sec

    placement = sec_placement(recipe, device, language)
    model = load_sec(
        recipe.weights,
        placement,
        tokenizer=recipe.tokenizer or None,
        image_side=recipe.image_side,
        options=_options(recipe),
    )
    return model.segmenter, model.concept_encoder()


def sec_placement(recipe: Recipe, device: torch.device, language: torch.device) -> "SecPlacement":
    """Where the parts of a recipe's SeC go, and in what numbers."""
    from segment_concept.checkpoints.memory_estimate import SecPlacement
    from segment_concept.checkpoints.sec.internvl import Placement

    auto = recipe.concept_dtype == "auto"
    dtype = torch_dtype(recipe.dtype if auto else recipe.concept_dtype, language)
    concept = Placement(str(device), str(language), dtype, recipe.four_bit)
    return SecPlacement(str(device), torch_dtype(recipe.dtype, device), concept)
