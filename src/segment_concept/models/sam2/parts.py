"""The parts of a SAM 2.1 network that run on every frame: eager, compiled, or as CUDA graphs."""

from collections.abc import Hashable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from segment_concept.models.sam2.captured import CapturedCalls, Function
from segment_concept.models.sam2.constants import state_of
from segment_concept.models.sam2.memory_attention import MemoryAttention, MemoryTokens
from segment_concept.models.sam2.network import Decoded, SamNetwork

Compiled: TypeAlias = Literal["no", "graphs", "inductor"]
"""How a network runs. `no`: operator by operator. `graphs`: the same operators, on an NVIDIA GPU as
CUDA graphs, which are captured when shapes recur; the same as `no` elsewhere. `inductor`: compiled
by torch, and on an NVIDIA GPU captured as graphs. The first frames take longer, with `inductor`
minutes."""


class NetworkParts:
    """Runs the parts of a network. Results are those of its methods of the same names.

    Args:
        network: the network; it may be moved, cast or loaded later.
        compiled: how to run it.
    """

    def __init__(self, network: SamNetwork, compiled: Compiled) -> None:
        self.network, self.compiled = network, compiled
        self._encode = self._made(network.encode_image)
        self._attend = self._made(_Attend(network, "memory_attention"), dynamic=True)
        self._recognize = self._made(_Attend(network, "token_attn"))
        self._decode = self._made(_Decode(network))
        self._remember = self._made(_Remember(network))

    def encode_image(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See `SamNetwork.encode_image`."""
        return self._encode(pixels)

    def attend(self, coarse: Tensor, memory: MemoryTokens, images: Tensor) -> Tensor:
        """Coarse features of the objects' `images`, conditioned on memory."""
        return self._attended(self._attend, coarse, memory, images)

    def recognize(self, coarse: Tensor, concept: MemoryTokens, images: Tensor) -> Tensor:
        """Coarse features of the objects' `images`, conditioned on concepts."""
        return self._attended(self._recognize, coarse, concept, images)

    def decode(
        self,
        coarse: Tensor,
        fine: tuple[Tensor, Tensor],
        prompts: tuple[Tensor, Tensor],
        *,
        several: bool,
    ) -> Decoded:
        """See `SamNetwork.decode`."""
        return Decoded(*self._decode(coarse, *fine, *prompts, several=several))

    def remember(self, coarse: Tensor, masks: Tensor, visible: Tensor) -> Tensor:
        """See `SamNetwork.remember`."""
        (maps,) = self._remember(coarse, masks, visible)
        return maps

    def clear(self) -> None:
        """Free all captured graphs with their memory."""
        for part in (self._encode, self._attend, self._recognize, self._decode, self._remember):
            if isinstance(part, CapturedCalls):
                part.clear()

    def _attended(
        self, attention: Function, coarse: Tensor, memory: MemoryTokens, images: Tensor
    ) -> Tensor:
        positions = self.network.grid_positions()
        tensors = [coarse, positions, images, memory.keys, memory.values]
        if memory.rotation is not None:
            tensors.append(memory.rotation)
        (conditioned,) = attention(*tensors, placed=memory.placed)
        return conditioned

    def _made(self, function: Function, dynamic: bool | None = None) -> Function:
        if self.compiled == "no":
            return function
        if self.compiled == "inductor":
            function = torch.compile(function, dynamic=dynamic)
        return CapturedCalls(function, self._weights)

    def _weights(self) -> Hashable:
        weight = self.network.no_object_pointer
        return weight.data_ptr(), state_of(weight)


class _Attend:
    """One of a network's attentions, as a function of tensors."""

    def __init__(self, network: SamNetwork, name: str) -> None:
        self._network, self._name = network, name

    def __call__(
        self,
        coarse: Tensor,
        positions: Tensor,
        images: Tensor,
        keys: Tensor,
        values: Tensor,
        rotation: Tensor | None = None,
        *,
        placed: int,
    ) -> tuple[Tensor]:
        attention: MemoryAttention = getattr(self._network, self._name)
        memory = MemoryTokens(keys, values, placed, rotation)
        return (attention(coarse, positions, memory, images),)


class _Decode:
    """The mask decoder, as a function of tensors."""

    def __init__(self, network: SamNetwork) -> None:
        self._network = network

    def __call__(
        self,
        coarse: Tensor,
        quarter: Tensor,
        eighth: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        several: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = self._network.decode(coarse, (quarter, eighth), (sparse, dense), several=several)
        return found.logits, found.iou, found.tokens, found.presence


class _Remember:
    """The memory encoder, as a function of tensors."""

    def __init__(self, network: SamNetwork) -> None:
        self._network = network

    def __call__(self, coarse: Tensor, masks: Tensor, visible: Tensor) -> tuple[Tensor]:
        return (self._network.remember(coarse, masks, visible),)
