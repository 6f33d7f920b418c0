"""The segmenter of stage 2: stage 1's, with `token_attn` as a copy of its memory attention."""

from dataclasses import replace
from pathlib import Path

import torch

from segment_concept.checkpoints.sam2.keys import FREQUENCIES
from segment_concept.checkpoints.sam2.load import load_sam2_network
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.sizes import SEC_4B
from segment_concept.train.memory_run import is_memory_run, memory_network
from segment_concept.types import CheckpointError


def segmenter_with_concepts(source: str, device: str, dtype: torch.dtype) -> Sam2Network:
    """Load a segmenter that takes concepts.

    Args:
        source: the folder of a run of stage 1, a file that it was exported to, or SeC's weights,
            whose `token_attn` is used.
        device, dtype: of the network.

    Raises:
        CheckpointError: nothing usable is found, or the segmenter has not SeC's 22 slots.
    """
    if is_memory_run(Path(source)):
        network = memory_network(Path(source)).to(device)
    else:
        network = load_sam2_network(source, device=device)
    if network.sizes.slots != SEC_4B.slots:
        raise CheckpointError(
            f"the segmenter {source} has {network.sizes.slots} memory slots, SeC's has "
            f"{SEC_4B.slots}: train it first with `segment-concept train memory`"
        )
    network = network if network.token_attn is not None else with_token_attn(network)
    return _cast(network, dtype).requires_grad_(False)


def _cast(network: Sam2Network, dtype: torch.dtype) -> Sam2Network:
    """All weights in `dtype` but the position frequencies, the argument of sine and cosine."""
    owner = network.get_submodule(FREQUENCIES.rpartition(".")[0])
    name = FREQUENCIES.rpartition(".")[2]
    frequencies = getattr(owner, name).clone()
    network = network.to(dtype)
    setattr(owner, name, frequencies)
    return network


def with_token_attn(network: Sam2Network) -> Sam2Network:
    """The same weights with `token_attn`, a copy of the memory attention, as published."""
    sizes = replace(network.sizes, concept_layers=network.sizes.attention_layers)
    with torch.device("meta"):
        made = Sam2Network(sizes)
    state = network.state_dict()
    stem = "memory_attention."
    copies = {
        f"token_attn.{name.removeprefix(stem)}": tensor.clone()
        for name, tensor in state.items()
        if name.startswith(stem)
    }
    made.load_state_dict({**state, **copies}, assign=True)
    return made.eval().requires_grad_(False)
