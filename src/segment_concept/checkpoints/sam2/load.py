"""Load SAM 2.1's weights, or the segmenter part of SeC's, as a `Sam2Segmenter`."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from segment_concept.checkpoints.edgetam.keys import is_edgetam
from segment_concept.checkpoints.files import Prefixed, Weights, open_weights
from segment_concept.checkpoints.sam2.keys import FREQUENCIES, SEC_PREFIX, check_keys, plan
from segment_concept.checkpoints.sam2.save import read_header
from segment_concept.checkpoints.sam2.sizes import infer_sizes
from segment_concept.checkpoints.sec.internvl_keys import belongs_to_concept
from segment_concept.checkpoints.strict_keys import refuse_not_finite
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import HieraWiring, Sam2Sizes
from segment_concept.types import CheckpointError

HUB_NAMES = {
    size: f"facebook/sam2.1-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")
}

TRAINED_SIDE = 1024  # pixels; of all published networks


def load_sam2(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    options: Sam2Options | None = None,
    image_side: int | None = None,
    wiring: HieraWiring | None = None,
) -> Sam2Segmenter:
    """Load a segmenter with published weights.

    Args:
        source: a file, a folder or a Hugging Face repository (see `open_weights`, `HUB_NAMES`),
            with official or transformers' names; or SeC's checkpoint, whose segmenter is used.
        device: device of the network.
        dtype: data type of the network: float32, bfloat16 or float16.
        options: options of the segmenter.
        image_side: side of the square input, in pixels. Default: that on which the network was
            trained, which is 1024 unless a file of `save_sam2` states another one.
        wiring: heads, windows and global blocks of the image encoder, if it is not one of the
            official four. A file of `save_sam2` states it.

    Raises:
        CheckpointError: nothing found, damaged, or not weights of SAM 2.1 (unknown and missing
            names are listed).
    """
    network = load_sam2_network(
        source, device=device, dtype=dtype, image_side=image_side, wiring=wiring
    )
    return Sam2Segmenter(network, options)


def load_sam2_network(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    image_side: int | None = None,
    wiring: HieraWiring | None = None,
) -> Sam2Network:
    """Load the network of `load_sam2` alone; see there."""
    weights = segmenter_part(open_weights(source))
    header = read_header(Path(source))
    stated = None if header is None else header.sizes
    return load_network(
        weights,
        torch.device(device),
        dtype,
        image_side=image_side or (TRAINED_SIDE if stated is None else stated.image_side),
        wiring=wiring or (None if stated is None else stated.trunk.wiring),
    )


def segmenter_part(weights: Weights) -> Weights:
    """Select the segmenter of SeC's checkpoint; weights of a segmenter alone stay unchanged.

    Raises:
        CheckpointError: a name belongs to neither the segmenter nor the concept network, or the
            weights are EdgeTAM's.
    """
    names = weights.shapes
    if is_edgetam(names):
        raise CheckpointError("these are EdgeTAM's weights: use them with the recipe edgetam")
    if not any(name.startswith(SEC_PREFIX) for name in names):
        return weights
    others = (name for name in names if not name.startswith(SEC_PREFIX))
    check_keys(unknown=(name for name in others if not belongs_to_concept(name)), missing=())
    return Prefixed(weights, SEC_PREFIX)


def load_network(
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype,
    *,
    image_side: int = TRAINED_SIDE,
    wiring: HieraWiring | None = None,
) -> Sam2Network:
    """Create a network on the meta device and load its weights, so that they exist only once.

    Raises:
        CheckpointError: unknown or missing names (they are listed), a shape that differs, or a
            value that is not finite.
    """
    sources = plan(weights.shapes)
    shapes = {ours: _joined_shape(weights, names) for ours, names in sources.items()}
    sizes = infer_sizes(shapes, image_side, wiring)
    network = _laid_out(sizes)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_keys(
        unknown=(name for ours in sources.keys() - expected.keys() for name in sources[ours]),
        missing=expected.keys() - sources.keys(),
    )
    check_shapes(shapes, expected)
    state: dict[str, Tensor] = {}
    for ours, names in sources.items():
        # the argument of sine and cosine: keep float32 whatever the other weights' data type
        torch_dtype = torch.float32 if ours == FREQUENCIES else dtype
        # a copy, so that no weight keeps a memory-mapped file alive
        placed = torch.empty(expected[ours], dtype=torch_dtype, device=device)
        parts = [weights.read(name) for name in names]
        state[ours] = placed.copy_(torch.cat(parts) if len(parts) > 1 else parts[0])
        refuse_not_finite(ours, state[ours])
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def _laid_out(sizes: Sam2Sizes) -> Sam2Network:
    """A network without memory for its weights."""
    try:
        with torch.device("meta"):
            return Sam2Network(sizes)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"the sizes inferred from the weights are not valid ({error}): the checkpoint is "
            "damaged or belongs to another network"
        ) from error


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare all shapes before reading weights.

    Raises:
        CheckpointError: one of them differs.
    """
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{name} has shape {found[name]} in the checkpoint, but the sizes inferred from "
                f"its other weights give {shape}: the checkpoint is damaged or mixed"
            )


def _joined_shape(weights: Weights, names: tuple[str, ...]) -> tuple[int, ...]:
    first = weights.shapes[names[0]]
    if len(names) == 1:
        return first
    return (sum(weights.shapes[name][0] for name in names), *first[1:])
