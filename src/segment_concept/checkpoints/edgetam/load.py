"""Load EdgeTAM's weights as a `Sam2Segmenter`."""

from pathlib import Path

import torch
from torch import Tensor

from segment_concept.checkpoints.edgetam.keys import Source, check_keys, plan
from segment_concept.checkpoints.edgetam.sizes import infer_sizes
from segment_concept.checkpoints.files import Weights, open_weights
from segment_concept.checkpoints.sam2.load import check_shapes
from segment_concept.checkpoints.strict_keys import refuse_not_finite
from segment_concept.models.edgetam.network import EdgeTamNetwork
from segment_concept.models.edgetam.repvit import fold
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.ops.moving import move_weights
from segment_concept.types import CheckpointError

PUBLISHED = "yonigozlan/EdgeTAM-hf"  # the name in transformers' documentation


def load_edgetam(
    source: str | Path = PUBLISHED,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    options: Sam2Options | None = None,
    image_side: int = 1024,
) -> Sam2Segmenter:
    """Load a segmenter with published weights.

    Args:
        source: a file, a folder or a Hugging Face repository (see `open_weights`), with the names
            of the release (`edgetam.pt`) or of transformers.
        device: device of the network.
        dtype: data type of the network: float32, bfloat16 or float16.
        options: options of the segmenter.
        image_side: side of the square input in pixels, a multiple of 256.

    Raises:
        CheckpointError: nothing found, damaged, or not weights of EdgeTAM (unknown and missing
            names are listed).
    """
    network = load_network(open_weights(source), image_side)
    move_weights(network, torch.device(device), dtype)
    return Sam2Segmenter(network, options)


def load_network(weights: Weights, image_side: int = 1024) -> EdgeTamNetwork:
    """The network in float32 on the CPU, with its convolutions merged for inference.

    Raises:
        CheckpointError: unknown or missing names (they are listed), a shape that differs, or a
            value that is not finite.
    """
    sources = plan(weights.shapes)
    shapes = {ours: _shape(weights, found) for ours, found in sources.items()}
    sizes = infer_sizes(shapes, image_side)
    try:
        with torch.device("meta"):
            network = EdgeTamNetwork(sizes)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"the sizes inferred from the weights are not valid ({error}): the checkpoint is "
            "damaged or belongs to another network"
        ) from error
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_keys(
        unknown=(s.name for ours in sources.keys() - expected.keys() for s in sources[ours]),
        missing=expected.keys() - sources.keys(),
    )
    check_shapes(shapes, expected)
    state: dict[str, Tensor] = {}
    for ours, found in sources.items():
        parts = [_read(weights, source) for source in found]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        state[ours] = tensor.float() if tensor.is_floating_point() else tensor.clone()
        refuse_not_finite(ours, state[ours])
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    fold(network.vision_encoder.backbone)
    for parameter in network.vision_encoder.backbone.parameters():
        if parameter.ndim == 4:  # convolutions take a fifth less time in this layout on a CPU
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _shape(weights: Weights, found: tuple[Source, ...]) -> tuple[int, ...]:
    first = weights.shapes[found[0].name]
    if not first:
        return first
    rows = sum(weights.shapes[s.name][0] for s in found)
    return (rows // (1 if found[0].half is None else 2), *first[1:])


def _read(weights: Weights, source: Source) -> Tensor:
    tensor = weights.read(source.name)
    return tensor if source.half is None else tensor.chunk(2)[source.half]
