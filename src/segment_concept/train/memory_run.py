"""The network that a run of stage 1 has trained."""

from dataclasses import replace
from pathlib import Path

import torch

from segment_concept.checkpoints.sam2.load import load_sam2_network
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.train.run_state import RECIPE, read_recipe, trained_weights
from segment_concept.types import CheckpointError, InputError

MEMORY = "memory"  # the task of stage 1 in `recipe.json`
_SLOTS = "memory_temporal_positional_encoding"


def is_memory_run(folder: Path) -> bool:
    """Whether a folder is that of a run of stage 1."""
    return (folder / RECIPE).is_file() and read_recipe(folder).get("task") == MEMORY


def memory_network(run: Path) -> Sam2Network:
    """The network of a run of stage 1, in float32 on the CPU: its start, and what was trained.

    Raises:
        CheckpointError: the run has no state yet, or was not started from these weights.
        InputError: the folder is none of a run of stage 1.
    """
    recipe = read_recipe(run)
    if recipe.get("task") != MEMORY:
        raise InputError(f"{run} is no run of `segment-concept train memory`")
    trained = trained_weights(run)
    start = load_sam2_network(recipe["weights"])
    if _SLOTS not in trained:
        raise CheckpointError(f"{run} has no temporal embeddings among what it trained")
    with torch.device("meta"):
        network = Sam2Network(replace(start.sizes, slots=len(trained[_SLOTS])))
    state = {**start.state_dict(), **trained}
    unknown = sorted(state.keys() - network.state_dict().keys())
    if unknown:
        raise CheckpointError(
            f"{run} has trained {unknown[0]}, which {recipe['weights']} does not have: the weights "
            "that it started from were replaced"
        )
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
