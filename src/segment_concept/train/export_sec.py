"""Write the weights of both stages of SeC's training, ready to track with.

Adapters are merged in float32 into base weights that are loaded again, never into 4-bit ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from segment_concept.checkpoints.sam2.save import save_sam2
from segment_concept.checkpoints.sec.base import open_internvl
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.checkpoints.sec.load import SecModel
from segment_concept.checkpoints.sec.save import save_published, save_sec
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.train.commit import current_commit
from segment_concept.train.concept_network import (
    SEG_ROW,
    Adapters,
    merged_weights,
)
from segment_concept.train.concept_segmenter import segmenter_with_concepts
from segment_concept.train.memory_run import MEMORY, memory_network
from segment_concept.train.run_state import (
    Progress,
    newest_state,
    read_recipe,
    trained_weights,
)
from segment_concept.types import CheckpointError, InputError

CONCEPT = "concept"  # the task of stage 2 in `recipe.json`
_PREFIX = "concept."  # of the concept network in the names of a state
_WORDS = "words.weight"  # for training only


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How weights are written.

    Args:
        dtype: data type; None for float32 of stage 1, and that of the base model of stage 2.
        published: use the names of the published checkpoints, for their own code.
        base: where stage 2's base model is now, if it was moved.
        segmenter: where stage 2's segmenter is now, if it was moved.
    """

    dtype: torch.dtype | None = None
    published: bool = False
    base: str | None = None
    segmenter: str | None = None


def export_run(run: Path, out: Path, options: ExportOptions | None = None) -> dict[str, Any]:
    """Write the weights of a run of stage 1 (a file) or stage 2 (a folder). Returns its card.

    Raises:
        InputError: the folder is none of such a run, or the output cannot be written.
        CheckpointError: the run has no complete state, or what it started from is missing.
    """
    options = options or ExportOptions()
    task = read_recipe(run).get("task")
    if task == MEMORY:
        return _export_memory(run, out, options)
    if task == CONCEPT:
        return _export_concept(run, out, options)
    raise InputError(f"{run} is a run of {task!r}: expected one of {MEMORY} or {CONCEPT}")


def card_of(run: Path) -> dict[str, Any]:
    """How the weights of a run came about: recipe, commit, data, steps and last report.

    Raises:
        CheckpointError: the run has no complete state.
    """
    state = newest_state(run)
    if state is None:
        raise CheckpointError(f"{run} has no state of a training run: train first")
    progress = Progress.read(state)
    return {
        "recipe": read_recipe(run),
        "commit": current_commit(),
        "steps": progress.step,
        "report": progress.report,
    }


def _export_memory(run: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    card = card_of(run)
    save_sam2(
        memory_network(run),
        out,
        dtype=options.dtype,
        training=card,
        published=options.published,
    )
    return card


def _export_concept(run: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    recipe, card = read_recipe(run), card_of(run)
    trained = trained_weights(run)
    source = options.base or recipe["base"]["source"]
    segmenter = segmenter_with_concepts(
        options.segmenter or recipe["segmenter"], "cpu", torch.float32
    )
    base = open_internvl(source, concept_width=segmenter.sizes.width)
    if base.size.language.vocabulary != recipe["base"]["tokens"]:
        raise CheckpointError(
            f"the base model {source} has {base.size.language.vocabulary} tokens with [SEG], that "
            f"of the run has {recipe['base']['tokens']}: give the base model of the run (--base)"
        )
    network = base.load(Placement("cpu", "cpu", base.stored_dtype()), words=False, seed=0)
    dtype = options.dtype or base.stored_dtype()
    own = {n.removeprefix(_PREFIX): t for n, t in trained.items() if n.startswith(_PREFIX)}
    _put(network, own, dtype, Adapters(**recipe["trained"]["adapters"]).scale)
    if SEG_ROW in trained:
        with torch.no_grad():
            embeddings = network.backbone.language_model.embed_tokens.weight
            embeddings[base.seg] = trained[SEG_ROW].to(embeddings.dtype)
    with TemporaryDirectory() as made:
        tokenizer = base.save_tokenizer(Path(made) / "tokenizer")
        model = SecModel(Sam2Segmenter(segmenter), network, tokenizer)
        if options.published:
            assert base.files.config is not None, "`open_internvl` refuses a model without one"
            save_published(model, out, base.files.config, dtype=dtype, training=card)
        else:
            save_sec(model, out, dtype=dtype, training=card)
    return card


def _put(
    network: ConceptNetwork, trained: Mapping[str, Tensor], dtype: torch.dtype, scale: float
) -> None:
    """Replace parameters by trained and merged ones, in `dtype`."""
    base = dict(network.named_parameters())
    adapters = {name: tensor for name, tensor in trained.items() if ".lora_" in name}
    whole = {n: t for n, t in trained.items() if n not in adapters and n != _WORDS}
    try:
        for name, tensor in {**whole, **merged_weights(base.__getitem__, adapters, scale)}.items():
            if base[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{name} has shape {tuple(base[name].shape)} in the base model and "
                    f"{tuple(tensor.shape)} in the run: give the base model of the run (--base)"
                )
            owner, _, field = name.rpartition(".")
            placed = nn.Parameter(tensor.to(dtype), requires_grad=False)
            setattr(network.get_submodule(owner), field, placed)
    except KeyError as missing:
        raise CheckpointError(
            f"the base model has no {missing}: give the base model of the run (--base)"
        ) from missing
