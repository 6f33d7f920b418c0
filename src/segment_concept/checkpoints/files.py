"""Find and read weights: a Hugging Face repository, a folder, or one file.

Reading cannot execute code: safetensors, and PyTorch files with `weights_only=True`.
"""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segment_concept.checkpoints.hub import fetch, parse_hub_name
from segment_concept.runtime.json_files import read_json
from segment_concept.runtime.names import checked_name
from segment_concept.types import CheckpointError, InputError

SUFFIXES = (".safetensors", ".pt", ".pth")
WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Weights(Protocol):
    """Named tensors that are read on demand."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor, by name."""
        ...

    def read(self, name: str) -> Tensor:
        """Read one tensor to the CPU. Raises KeyError."""
        ...


def open_weights(source: str | Path) -> Weights:
    """Open the weights at `source` without reading tensors.

    Args:
        source: a `.safetensors` or `.pt` file; a folder with `model.safetensors`, with shards and
            their index, or with a single such file; a Hugging Face repository such as
            `facebook/sam2.1-hiera-large`, or a file in one
            (`facebook/sam2.1-hiera-large/sam2.1_hiera_large.pt`).

    Raises:
        CheckpointError: nothing is found, the download fails, or the file is damaged.
    """
    files = find_files(source)
    if files[0].suffix == ".safetensors":
        return SafetensorsFiles.open(files)
    return TorchFile.open(files[0])


def find_files(source: str | Path) -> tuple[Path, ...]:
    """Find the file, or all shards, of a source; see `open_weights`."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise CheckpointError(f"{path} is not a weights file: expected one of {SUFFIXES}")
        return (path,)
    if path.exists():
        raise CheckpointError(f"{path} is a device or a pipe: expected a weights file")
    name = parse_hub_name(str(source))
    if name is None or (name[1] is None and path.suffix in SUFFIXES):
        raise CheckpointError(
            f"there is no weights file or folder {source}{_nearest(path)}: give a file, a folder, "
            "or a Hugging Face repository such as facebook/sam2.1-hiera-large"
        )
    return _on_hub(*name)


def _nearest(path: Path) -> str:
    """A hint for a mistyped path, as part of a sentence."""
    folder = path.parent
    if not folder.is_dir():
        return f" (there is no folder {folder})"
    found = sorted(p.name for p in folder.iterdir() if p.suffix in SUFFIXES)
    close = get_close_matches(path.name, found, n=1)
    return f" (did you mean {folder / close[0]}?)" if close else ""


def _in_folder(folder: Path) -> tuple[Path, ...]:
    if (folder / WHOLE).is_file():
        return (folder / WHOLE,)
    if (folder / INDEX).is_file():
        return tuple(folder / shard for shard in _shards(folder / INDEX))
    found = [p for suffix in SUFFIXES for p in sorted(folder.glob(f"*{suffix}"))]
    if len(found) == 1:
        return (found[0],)
    if not found:
        raise CheckpointError(f"no weights in {folder}: expected {WHOLE} or one file of {SUFFIXES}")
    raise CheckpointError(
        f"several weights files in {folder}: give one of {', '.join(p.name for p in found)}"
    )


def _shards(index: Path) -> list[str]:
    """Read the names of the shards, which are next to the index, from an index file.

    Raises:
        CheckpointError: the index is damaged, empty, or names files in other folders.
    """
    try:
        content = read_json(index)
        homes = content["weight_map"].values()
        names = sorted({checked_name(str(name), index) for name in homes})
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: download it again ({error})") from error
    if not names or any(Path(name).suffix not in SUFFIXES for name in names):
        raise CheckpointError(
            f"{index} is damaged: it lists {', '.join(names) or 'no file'}, expected names of "
            ".safetensors files; download it again"
        )
    return names


def _on_hub(repository: str, file: str | None) -> tuple[Path, ...]:
    # The official SAM 2.1 repositories hold both: model.safetensors (transformers' names) and
    # e.g. sam2.1_hiera_tiny.pt. facebook/EdgeTAM holds edgetam.pt.
    named = repository.split("/")[1].replace("-", "_").lower() + ".pt"
    wanted = (file,) if file else (WHOLE, INDEX, named)
    for candidate in wanted:
        found = fetch(repository, candidate)
        if found is None:
            continue
        if candidate.endswith(INDEX):
            shards = [fetch(repository, shard) for shard in _shards(found)]
            return tuple(shard for shard in shards if shard is not None)
        return (found,)
    raise CheckpointError(f"repository {repository} has none of: {', '.join(wanted)}")


@dataclass(frozen=True, slots=True, eq=False)
class SafetensorsFiles:
    """One safetensors file, or all its shards."""

    shapes: Mapping[str, tuple[int, ...]]
    _homes: Mapping[str, Any]  # tensor name -> the open file that has it

    @classmethod
    def open(cls, files: tuple[Path, ...]) -> "SafetensorsFiles":
        """Open all shards. Raises CheckpointError."""
        missing = [f.name for f in files if not f.is_file()]
        if missing:
            raise CheckpointError(
                f"{len(missing)} of {len(files)} shards are missing in {files[0].parent}: "
                f"{', '.join(missing)}"
            )
        homes: dict[str, Any] = {}
        for file in files:
            try:
                opened: Any = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise _damaged(file, error) from error
            homes |= dict.fromkeys(opened.keys(), opened)
        shapes = {name: tuple(f.get_slice(name).get_shape()) for name, f in homes.items()}
        return cls(shapes, homes)

    def read(self, name: str) -> Tensor:
        """Read one tensor. Raises KeyError."""
        tensor: Tensor = self._homes[name].get_tensor(name)
        return tensor


@dataclass(frozen=True, slots=True, eq=False)
class TorchFile:
    """A PyTorch file: a state dict, or a training checkpoint with a state dict in "model"."""

    shapes: Mapping[str, tuple[int, ...]]
    _tensors: Mapping[str, Tensor]

    @classmethod
    def open(cls, file: Path) -> "TorchFile":
        """Load the file. Raises CheckpointError."""
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
            raise _damaged(file, error) from error
        inner = content.get("model", content) if isinstance(content, dict) else None
        if not isinstance(inner, dict) or not all(isinstance(t, Tensor) for t in inner.values()):
            raise CheckpointError(
                f'{file} is not a state dict: expected named tensors, directly or under "model"'
            )
        return cls({name: tuple(t.shape) for name, t in inner.items()}, inner)

    def read(self, name: str) -> Tensor:
        """Return one tensor. Raises KeyError."""
        return self._tensors[name]


@dataclass(frozen=True, slots=True, eq=False)
class Prefixed:
    """The weights whose names begin with a prefix, under their names without it."""

    weights: Weights
    prefix: str

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor with the prefix, by name without it."""
        return {
            name.removeprefix(self.prefix): shape
            for name, shape in self.weights.shapes.items()
            if name.startswith(self.prefix)
        }

    def read(self, name: str) -> Tensor:
        """Read one tensor. Raises KeyError."""
        return self.weights.read(self.prefix + name)


def tensors(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """Iterate over all tensors, reading one at a time."""
    return ((name, weights.read(name)) for name in weights.shapes)


def _damaged(file: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(
        f"{file} is damaged, truncated or not a weights file: download it again ({reason})"
    )
