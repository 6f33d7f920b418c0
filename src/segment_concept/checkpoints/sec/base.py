"""Load InternVL2.5 as the start of SeC's training: without SeC's parts, which are added here.

[SEG] is appended to the tokenizer and to the token embeddings (and to the language-model head, if
that is loaded), and the projection at [SEG] is new. Their values come from a seed, as in the
release: rows from a normal distribution, the projection from PyTorch's default for linear layers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segment_concept.checkpoints.files import Weights
from segment_concept.checkpoints.sec.files import SecFiles, find_internvl
from segment_concept.checkpoints.sec.internvl import (
    Placement,
    load_concept_network,
    load_tokenizer,
)
from segment_concept.checkpoints.sec.internvl_keys import PREFIXES, TOKENS, WORDS
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import SEG, Conversation
from segment_concept.models.internvl.sizes import ConceptSize, size_from_config, with_vocabulary
from segment_concept.types import CheckpointError

ROW_DEVIATION = 0.02  # standard deviation of new rows: `initializer_range` of the language models
_PROBE = "mlp1.0.bias"  # a small weight
_SEC_PARTS = ("grounding_encoder.", "text_hidden_fcs.")


@dataclass(frozen=True, slots=True, eq=False)
class BaseModel:
    """A base model whose weights are not read yet.

    Args:
        files: weights, configuration and the base model's own tokenizer.
        weights: opened, not read.
        size: of the network with [SEG].
        tokenizer: the base model's tokenizer with [SEG].
        seg: id of [SEG].
    """

    files: SecFiles
    weights: Weights
    size: ConceptSize
    tokenizer: Any
    seg: int

    def save_tokenizer(self, folder: Path) -> Path:
        """Write the tokenizer with [SEG] to a folder, and return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(str(folder))
        return folder

    def stored_dtype(self) -> torch.dtype:
        """Data type in which the weights are stored."""
        return self.weights.read(_PROBE).dtype

    def load(self, placement: Placement, *, words: bool, seed: int) -> ConceptNetwork:
        """Load the network with the new parts.

        Args:
            placement: devices and data types.
            words: with the language-model head.
            seed: of the values of the new parts; the same seed gives the same values.

        Raises:
            CheckpointError: unknown or missing names, or a shape that differs.
            InputError: 4-bit weights are requested and bitsandbytes is not installed.
        """
        return load_concept_network(self.size, self._tensors(words, seed), placement, words=words)

    def _tensors(self, words: bool, seed: int) -> Iterator[tuple[str, Tensor]]:
        """All weights, with new rows and the new projection, under published names."""
        generator = torch.Generator().manual_seed(seed)
        language = self.size.language
        yield from _new_head(self.size, generator).items()
        # drawn in a fixed order and whether or not they are used, so that the seed decides alone
        tables = (TOKENS[language.family], WORDS[language.family])
        rows = {name: self._new_rows(generator) for name in tables}
        for name in self.weights.shapes:
            if name == tables[1] and not words:
                continue
            tensor = self.weights.read(name)
            if name in rows:
                missing = language.vocabulary - len(tensor)
                tensor = torch.cat([tensor, rows[name][:missing].to(tensor.dtype)])
            yield name, tensor

    def _new_rows(self, generator: torch.Generator) -> Tensor:
        stored = self.weights.shapes[TOKENS[self.size.language.family]][0]
        shape = (self.size.language.vocabulary - stored, self.size.language.width)
        return torch.randn(shape, generator=generator) * ROW_DEVIATION


def open_internvl(
    source: str | Path, *, tokenizer: str | Path | None = None, concept_width: int = 256
) -> BaseModel:
    """Find a base model, check it, and append [SEG] to its tokenizer. No weights are read.

    Args:
        source: a folder in the layout of OpenGVLab/InternVL2_5-4B, or a Hugging Face repository.
        tokenizer: folder of the base model's tokenizer, if it is not next to the weights.
        concept_width: width of the concept, which is that of the segmenter's features.

    Raises:
        CheckpointError: a file is missing or damaged, the model is not an InternVL2.5 that is
            supported, it is SeC itself, or its tokenizer cannot be used.
    """
    files = find_internvl(source, tokenizer)
    weights = files.open()
    _refuse_sec(source, weights.shapes)
    assert files.config is not None, "`find_internvl` refuses a model without one"
    size = size_from_config(files.config, concept_width)
    words, seg = _with_seg(files.tokenizer)
    embeddings = TOKENS[size.language.family]
    if embeddings not in weights.shapes:
        raise CheckpointError(
            f"the weights at {source} have no {embeddings}: a shard is missing, or config.json "
            "belongs to another model"
        )
    stored, width = weights.shapes[embeddings]
    if width != size.language.width:
        raise CheckpointError(
            f"the weights at {source} have token embeddings of width {width}, but config.json says "
            f"{size.language.width}: they belong to different checkpoints"
        )
    rows = max(stored, seg + 1)
    size = with_vocabulary(size, rows)
    Conversation(words, rows)
    return BaseModel(files, weights, size, words, seg)


def _with_seg(folder: Path) -> tuple[Any, int]:
    tokenizer: Any = load_tokenizer(folder)
    tokenizer.add_tokens([SEG], special_tokens=True)
    return tokenizer, int(tokenizer.convert_tokens_to_ids(SEG))


def _refuse_sec(source: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if any(name.startswith(_SEC_PARTS) for name in shapes):
        raise CheckpointError(
            f"{source} is SeC, not a base model: training starts from InternVL2.5, such as "
            "OpenGVLab/InternVL2_5-4B"
        )
    others = sorted(name for name in shapes if not name.startswith(PREFIXES))
    if others:
        raise CheckpointError(
            f"the weights at {source} are not those of InternVL2.5 (one is {others[0]}): use "
            "OpenGVLab/InternVL2_5-1B, -2B, -4B or -8B"
        )


def _new_head(size: ConceptSize, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights of the projection at [SEG], under published names."""
    width = size.language.width
    made: dict[str, Tensor] = {}
    for number, out in ((0, width), (2, size.concept_width)):
        bound = width**-0.5  # of nn.Linear's default, for weights and biases
        for field, shape in (("weight", (out, width)), ("bias", (out,))):
            values = torch.empty(shape)
            nn.init.uniform_(values, -bound, bound, generator=generator)
            made[f"text_hidden_fcs.{number}.{field}"] = values
    return made
