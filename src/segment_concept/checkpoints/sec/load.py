"""Load SeC: a segmenter with `token_attn`, and the concept network.

Reads every common layout of SeC-4B: the published folder of shards, one file, a Hugging Face
repository, and the output of `save_sec`. Loading cannot execute code.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from segment_concept.checkpoints.files import Prefixed, Weights, tensors
from segment_concept.checkpoints.memory_estimate import SecPlacement, SecSizes, check_memory
from segment_concept.checkpoints.sam2.keys import SEC_PREFIX, our_name
from segment_concept.checkpoints.sam2.load import load_network, segmenter_part
from segment_concept.checkpoints.sam2.sizes import infer_sizes
from segment_concept.checkpoints.sec.config import CONCEPT, SEGMENTER, read_card
from segment_concept.checkpoints.sec.files import PUBLISHED, SecFiles, find_sec
from segment_concept.checkpoints.sec.internvl import load_concept_network, load_tokenizer
from segment_concept.checkpoints.sec.internvl_keys import (
    TOKENS,
    belongs_to_concept,
    renamed,
    size_from_shapes,
)
from segment_concept.models.internvl.encoder import InternVLConceptEncoder
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import Conversation
from segment_concept.models.internvl.sizes import ConceptSize, size_from_config, with_vocabulary
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import HieraWiring, Sam2Sizes
from segment_concept.types import CheckpointError

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_HEAD = "text_hidden_fcs.2.weight"  # last layer of the projection to the concept embedding
_SAM2 = ("image_encoder.trunk.", "vision_encoder.backbone.")  # official names and transformers'
_PROBE = ("text_hidden_fcs.0.bias", "head.0.bias")  # a small weight, as published and as ours


@dataclass(frozen=True, slots=True)
class UnstoredOptions:
    """Options of the segmenter that cannot be inferred from weights; defaults: SeC-4B's.

    Args:
        image_side: side of the square training input, in pixels.
        wiring: heads, windows and global blocks of the image encoder, if it is not one of
            SAM 2.1's four.
    """

    image_side: int = 1024
    wiring: HieraWiring | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SecModel:
    """The two networks of SeC, and the folder of their tokenizer."""

    segmenter: Sam2Segmenter
    network: ConceptNetwork
    tokenizer: Path

    def concept_encoder(self, remember: int = 16) -> InternVLConceptEncoder:
        """Wrap the concept network as a concept encoder; `remember` as in its class.

        Raises:
            CheckpointError: the tokenizer does not match the weights.
        """
        return InternVLConceptEncoder(self.network, load_tokenizer(self.tokenizer), remember)


@dataclass(frozen=True, slots=True, eq=False)
class SecCheckpoint:
    """An opened checkpoint whose weights are not read yet."""

    files: SecFiles
    segmenter: Weights
    concept: Weights
    sizes: Sam2Sizes
    size: ConceptSize

    def stored_dtype(self) -> torch.dtype:
        """Data type in which the concept network is stored."""
        return self.concept.read(next(n for n in _PROBE if n in self.concept.shapes)).dtype

    def rename(self, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Map a stored tensor of the concept network to our names. Raises KeyError."""
        return {name: tensor} if self.files.saved_here else renamed(self.size)(name, tensor)


def open_sec(
    source: str | Path,
    *,
    tokenizer: str | Path | None = None,
    unstored: UnstoredOptions | None = None,
) -> SecCheckpoint:
    """Find a checkpoint and infer its sizes. Parameters as in `load_sec`.

    Raises:
        CheckpointError: a file is missing or damaged, or belongs to another model.
    """
    files = find_sec(source, tokenizer)
    if files.saved_here:
        return _saved(files)
    weights = files.open()
    _refuse_other_models(source, weights.shapes)
    unstored = unstored or UnstoredOptions()
    segmenter = segmenter_part(_DequantizedWeights(weights, frozenset(weights.shapes)))
    shapes = {our_name(name): shape for name, shape in segmenter.shapes.items()}
    concept = _DequantizedWeights(weights, frozenset(filter(belongs_to_concept, weights.shapes)))
    return SecCheckpoint(
        files,
        segmenter,
        concept,
        infer_sizes(shapes, unstored.image_side, unstored.wiring),
        _concept_size(files, concept.shapes),
    )


def load_sec(
    source: str | Path | SecCheckpoint = PUBLISHED,
    placement: SecPlacement | None = None,
    *,
    tokenizer: str | Path | None = None,
    unstored: UnstoredOptions | None = None,
    image_side: int | None = None,
    options: Sam2Options | None = None,
) -> SecModel:
    """Load SeC, placing every tensor directly on its device.

    Args:
        source: a folder in the layout of OpenIXCLab/SeC-4B or written by `save_sec`; a single
            `.safetensors` file in 16 or 32 bits with the published names; a Hugging Face
            repository or a file in one; or the result of `open_sec`.
        placement: devices and data types. Default: float32 on the CPU.
        tokenizer: tokenizer folder, if it is neither next to the weights, nor in a folder
            `tokenizer` there, nor on the hub.
        unstored: options for weights other than SeC-4B's.
        image_side: side of the segmenter's square input in pixels, if it shall be another one than
            that of the training.
        options: options of the segmenter.

    Raises:
        CheckpointError: a file is missing or damaged, or belongs to another model.
        InputError: a GPU has too little memory.
    """
    placement = placement or SecPlacement()
    if not isinstance(source, SecCheckpoint):
        source = open_sec(source, tokenizer=tokenizer, unstored=unstored)
    # before reading gigabytes: check that the tokenizer and the devices fit the weights
    Conversation(load_tokenizer(source.files.tokenizer), source.size.language.vocabulary)
    segmenter, concept = source.segmenter, source.concept
    sizes = replace(source.sizes, image_side=image_side or source.sizes.image_side)
    check_memory(SecSizes.of(segmenter.shapes, concept.shapes, sizes, source.size), placement)
    network = load_network(
        segmenter,
        torch.device(placement.segmenter),
        placement.dtype,
        image_side=sizes.image_side,
        wiring=source.sizes.trunk.wiring,
    )
    return SecModel(
        Sam2Segmenter(network, options),
        load_concept_network(source.size, tensors(concept), placement.concept, source.rename),
        source.files.tokenizer,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _DequantizedWeights:
    """A subset of the weights; refuses 8-bit and other quantized tensors."""

    weights: Weights
    names: frozenset[str]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor of the subset, by name."""
        return {name: s for name, s in self.weights.shapes.items() if name in self.names}

    def read(self, name: str) -> Tensor:
        """Read one tensor. Raises KeyError, CheckpointError."""
        tensor = self.weights.read(name)
        if tensor.dtype not in FLOATS:
            raise CheckpointError(
                f"{name} is stored as {str(tensor.dtype).removeprefix('torch.')}: SeC's language "
                "model produces non-finite values with 8-bit weights. Use the fp16, bf16 or fp32 "
                "file; to save memory, load it with four_bit=True"
            )
        return tensor


def _saved(files: SecFiles) -> SecCheckpoint:
    assert files.config is not None, "`saved_here` is read from it"
    card, weights = read_card(files.config), files.open()
    strangers = [n for n in weights.shapes if not n.startswith((SEGMENTER, CONCEPT))]
    if strangers:
        raise CheckpointError(
            f"{files.weights[0]} contains weights that its config.json does not describe, such as "
            f"{strangers[0]}: one of the two files belongs to another model"
        )
    segmenter, concept = Prefixed(weights, SEGMENTER), Prefixed(weights, CONCEPT)
    return SecCheckpoint(files, segmenter, concept, card.segmenter, card.concept)


def _concept_size(files: SecFiles, shapes: Mapping[str, tuple[int, ...]]) -> ConceptSize:
    if files.config is None:
        return size_from_shapes(shapes)
    size = size_from_config(files.config, shapes[_HEAD][0])
    # SeC adds [SEG] to the vocabulary: the weights' shape is right, the configuration may not be
    return with_vocabulary(size, shapes[TOKENS[size.language.family]][0])


def _refuse_other_models(source: str | Path, names: Iterable[str]) -> None:
    """Raise CheckpointError naming the model that the weights belong to, if it is not SeC."""
    names = set(names)
    segmenter = any(name.startswith(SEC_PREFIX) for name in names)
    language = not names.isdisjoint(TOKENS.values())
    if segmenter and language and _HEAD in names:
        return
    if segmenter:
        what = "only a part of SeC: the concept network is missing. Is this a single shard?"
    elif any(name.startswith(_SAM2) for name in names):
        what = "SAM 2.1 without a concept network: use them with a recipe sam2_*"
    elif language:
        what = (
            "a language model without SeC's segmenter (InternVL2.5, or a single shard): use "
            f"{PUBLISHED}"
        )
    else:
        first = ", ".join(sorted(names)[:3])
        what = f"another model (its weights are named {first}, ...): use {PUBLISHED}"
    raise CheckpointError(f"the weights at {source} belong to {what}")
