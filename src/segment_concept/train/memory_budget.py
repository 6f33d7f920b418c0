"""Estimates of what stage 1 needs: parameters, memory of a GPU, hours.

Parameters are counted. Bytes and operations are formulas, fitted to what the layers of SAM 2.1
keep and compute for 7, 15 and 22 memory maps at 1024 pixels with bfloat16 autocast; nothing here
was measured on a GPU.
"""

from dataclasses import dataclass

import numpy as np

from segment_concept.models.sam2.network import SamNetwork
from segment_concept.train.memory_data import ClipConfig

_SIDE = 1024
_GB, _TERA = 1e9, 1e12
# Of one object on one predicted frame: memory attention (without maps, and for each map), and mask
# decoder, memory encoder and losses together.
_ATTENTION_BYTES, _MAP_BYTES, _REST_BYTES = 0.345 * _GB, 0.018 * _GB, 0.2 * _GB
_INPUT_BYTES = 0.025 * _GB  # of the memory attention, which are kept if it is computed again
_ATTENTION_FLOP, _MAP_FLOP = 0.125 * _TERA, 0.0695 * _TERA
_BACKWARD = 2.5  # operations of a backward pass per operation of a forward pass
_OBJECTS = 1.8  # of a clip on average, if at most two are followed
_ENCODER_FLOP, _ENCODER_PARAMETERS = 1.83 * _TERA, 212.7e6  # of the large image encoder
_FEATURE_BYTES = 0.4 * _GB / 30  # of one frame
_ENCODER_BYTES = 2 * _GB  # at its peak, for eight frames at a time
_TRAINED_BYTES, _FROZEN_BYTES = 16, 4  # float32: weight, gradient, two moments; weight alone


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training needs.

    Attributes:
        trained, frozen: numbers of parameters.
        fixed_bytes: weights, gradients, moments and the image encoder's work, on one GPU.
        clip_bytes: of one clip in a micro-batch.
        flop: floating-point operations of one clip.
    """

    trained: int
    frozen: int
    fixed_bytes: float
    clip_bytes: float
    flop: float

    def gpu_bytes(self, micro_batch: int) -> float:
        """Peak memory of a GPU."""
        return self.fixed_bytes + micro_batch * self.clip_bytes


def budget_of(network: SamNetwork, clip: ClipConfig, *, recompute: bool) -> Budget:
    """Estimate what training a network on such clips needs."""
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters()) - trained
    area = (network.sizes.image_side / _SIDE) ** 2
    maps = float(np.minimum(np.arange(1, clip.frames), network.sizes.slots).mean())
    attention = _INPUT_BYTES if recompute else _ATTENTION_BYTES + _MAP_BYTES * maps
    predicted = clip.predicted * (attention + _REST_BYTES)
    passes = 1 + _BACKWARD + recompute
    predict = clip.predicted * min(_OBJECTS, clip.objects) * passes
    encode = clip.frames * _ENCODER_FLOP * frozen / _ENCODER_PARAMETERS
    return Budget(
        trained,
        frozen,
        trained * _TRAINED_BYTES + frozen * _FROZEN_BYTES + _ENCODER_BYTES * area,
        area * (clip.frames * _FEATURE_BYTES + clip.objects * predicted),
        area * (encode + predict * (_ATTENTION_FLOP + _MAP_FLOP * maps)),
    )
