"""Files of weights: those that are published, reading them, converting them once."""

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
    """A file of weights as its authors released it, under the MIT licence."""

    file: str
    network: str  # "Cutie" or "XMem"
    url: str
    parameters: int
    md5: str | None = None  # where the authors publish one


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
# Under which the authors' training scripts keep the weights, beside the optimiser's state.
TRAINING_NAMES = ("weights", "network", "model", "state_dict")


def load_cutie(path: Path) -> CutieNetwork:
    """Cutie from an official `.pth` or a converted `.safetensors` file, on the CPU, in float32.

    Raises:
        CheckpointError: no such file, a damaged one, or one of another network.
    """
    return _named(path, cutie_from_weights)


def load_xmem(path: Path) -> XMemNetwork:
    """XMem from an official `.pth` or a converted `.safetensors` file, on the CPU, in float32.

    Raises:
        CheckpointError: no such file, a damaged one, or one of another network.
    """
    return _named(path, xmem_from_weights)


def convert_once(source: Path, folder: Path) -> Path:
    """The weights of `source` as a `.safetensors` file in `folder`, written if it is not there.

    The file has the official names, and in its metadata the MD5 of what it was made from; it is
    written again when `source` has changed.

    Raises:
        CheckpointError: `source` is missing, damaged, not what its name says, or of a network
            that is neither Cutie nor XMem.
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
    unfinished = target.with_suffix(".unfinished")  # so that a target is always whole
    save_file(network.state_dict(), unfinished, {"network": name, "source_md5": md5})
    unfinished.replace(target)
    return target


def check_published(path: Path) -> str:
    """The file's MD5, which is that of the release where the file has a published name.

    Raises:
        CheckpointError: no such file, or another content than was published under its name.
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
    """Names and tensors of a `.safetensors` or `.pth` file; code in a `.pth` is never run.

    Raises:
        CheckpointError: no such file, or not a file of weights.
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
    """The weights in what a `.pth` file held; one made while training keeps them under a name."""
    if isinstance(content, dict):
        content = next((content[k] for k in TRAINING_NAMES if k in content), content)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            f"{path} holds no weights: expected names of parameters with their tensors, or such "
            f"a collection under {', '.join(TRAINING_NAMES)}"
        )
    return {str(name): tensor for name, tensor in content.items()}


def _named(path: Path, build: Callable[[Weights], Network]) -> Network:
    """What `build` makes of the file's weights; its refusal names the file."""
    weights = read_weights(path)
    try:
        return build(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _metadata(path: Path) -> dict[str, str]:
    """What was written beside the weights; nothing where the file cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}


def _check_exists(path: Path) -> None:
    if not path.is_file():
        releases = ", ".join(c.url for c in PUBLISHED.values())
        raise CheckpointError(f"there is no file {path}. Published checkpoints: {releases}")
