"""Published weight files: read, verify and convert them."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from segment_concept.baselines.cutie.network import CutieNetwork
from segment_concept.baselines.weights import (
    Network,
    Weights,
    cutie_from_weights,
    owner,
    xmem_from_weights,
)
from segment_concept.baselines.xmem.network import XMemNetwork
from segment_concept.types import CheckpointError

CUTIE_RELEASE = "https://github.com/hkchengrex/Cutie/releases/download/v1.0"
XMEM_RELEASE = "https://github.com/hkchengrex/XMem/releases/download/v1.0"


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """A weight file as released by its authors, under the MIT license."""

    file: str
    network: str  # "Cutie" or "XMem"
    url: str
    parameters: int
    md5: str | None = None  # published by the authors; None if unknown


PUBLISHED = {
    checkpoint.file: checkpoint
    for checkpoint in (
        PublishedCheckpoint(
            "cutie-base-mega.pth",
            "Cutie",
            f"{CUTIE_RELEASE}/cutie-base-mega.pth",
            parameters=35_024_186,
            md5="a6071de6136982e396851903ab4c083a",
        ),
        PublishedCheckpoint("XMem.pth", "XMem", f"{XMEM_RELEASE}/XMem.pth", 62_185_224),
        PublishedCheckpoint("XMem-s012.pth", "XMem", f"{XMEM_RELEASE}/XMem-s012.pth", 62_185_224),
    )
}


LOADERS: dict[str, Callable[[Weights], CutieNetwork | XMemNetwork]] = {
    "Cutie": cutie_from_weights,
    "XMem": xmem_from_weights,
}
# Names under which training scripts of the authors store the weights beside the optimizer state.
TRAINING_NAMES = ("weights", "network", "model", "state_dict")


def load_cutie(path: Path) -> CutieNetwork:
    """Cutie from an official `.pth` or a converted `.safetensors` file, on the CPU, in float32.

    Raises:
        CheckpointError: the file is missing, damaged, or of another network.
    """
    return _named(path, cutie_from_weights)


def load_xmem(path: Path) -> XMemNetwork:
    """XMem from an official `.pth` or a converted `.safetensors` file, on the CPU, in float32.

    Raises:
        CheckpointError: the file is missing, damaged, or of another network.
    """
    return _named(path, xmem_from_weights)


def convert_once(source: Path, folder: Path) -> Path:
    """Convert `source` to a `.safetensors` file in `folder`, unless that exists already.

    The file has the official names, and in its metadata the MD5 of `source`; it is written again
    if `source` has changed.

    Raises:
        CheckpointError: `source` is missing, damaged, differs from the release of its name, or is
            neither Cutie nor XMem.
    """
    md5 = check_published(source)
    target = folder / f"{source.stem}.safetensors"
    if target.exists() and _metadata(target).get("source_md5") == md5:
        return target
    weights = read_weights(source)
    name = owner(weights)
    if name not in LOADERS:
        raise CheckpointError(
            f"{source}: expected weights of {' or '.join(LOADERS)}, found those of "
            f"{name or 'an unknown network'}"
        )
    network = _named(source, LOADERS[name])
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")  # so that a target is always complete
    save_file(network.state_dict(), unfinished, {"network": name, "source_md5": md5})
    unfinished.replace(target)
    return target


def check_published(path: Path) -> str:
    """MD5 of a file, verified if the file has a published name.

    Raises:
        CheckpointError: the file is missing, or differs from the release of its name.
    """
    _check_exists(path)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    md5 = digest.hexdigest()
    published = PUBLISHED.get(path.name)
    if published is not None and published.md5 not in (None, md5):
        raise CheckpointError(
            f"{path}: its MD5 is {md5} and that of the release {published.md5}. "
            f"Get it again from {published.url}"
        )
    return md5


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a `.safetensors` or `.pth` file; code in a `.pth` file is never run.

    Raises:
        CheckpointError: the file is missing or not a weight file.
    """
    _check_exists(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{path} is not a file of weights, or a damaged one ({type(error).__name__}). "
            "Expected .safetensors, or .pth with nothing but tensors in it"
        ) from error
    return _tensors(path, content)


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    """The weights of a `.pth` file; training checkpoints store them under a name."""
    if isinstance(content, dict):
        content = next((content[k] for k in TRAINING_NAMES if k in content), content)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            f"{path} holds no weights: expected names of parameters with their tensors, or such "
            f"a collection under {', '.join(TRAINING_NAMES)}"
        )
    return {str(name): tensor for name, tensor in content.items()}


def _named(path: Path, build: Callable[[Weights], Network]) -> Network:
    """Build a network from the weights of a file; errors name the file."""
    weights = read_weights(path)
    try:
        return build(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _metadata(path: Path) -> dict[str, str]:
    """Metadata of a file; empty if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}


def _check_exists(path: Path) -> None:
    if not path.is_file():
        releases = ", ".join(c.url for c in PUBLISHED.values())
        raise CheckpointError(f"there is no file {path}. Published checkpoints: {releases}")
