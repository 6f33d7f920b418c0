"""Where weights are and how they are read: a hub name, a folder, or one file.

Nothing that is read can run code: safetensors, and PyTorch files with `weights_only=True`.
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
    """Named tensors, none of which is read before it is asked for."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of every tensor."""
        ...

    def read(self, name: str) -> Tensor:
        """One tensor, on the CPU. Raises KeyError."""
        ...


def open_weights(source: str | Path) -> Weights:
    """The weights at `source`.

    Args:
        source: a `.safetensors` or `.pt` file; a folder with `model.safetensors`, with shards and
            their index, or with a single such file; a hub name such as
            `facebook/sam2.1-hiera-large`, or a file in a hub repository
            (`facebook/sam2.1-hiera-large/sam2.1_hiera_large.pt`).

    Raises:
        CheckpointError: nothing is there, it cannot be fetched, or it is damaged.
    """
    files = find_files(source)
    if files[0].suffix == ".safetensors":
        return SafetensorsFiles.open(files)
    return TorchFile.open(files[0])


def find_files(source: str | Path) -> tuple[Path, ...]:
    """The file, or all shards, behind a source; see `open_weights`."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise CheckpointError(f"{path} is no weights file: expected one of {SUFFIXES}")
        return (path,)
    if path.exists():
        raise CheckpointError(f"{path} is a device or a pipe: give a weights file")
    name = parse_hub_name(str(source))
    if name is None or (name[1] is None and path.suffix in SUFFIXES):
        raise CheckpointError(
            f"there is no weights file or folder {source}{_nearest(path)}: give a file, a folder, "
            "or a hub name such as facebook/sam2.1-hiera-large"
        )
    return _on_hub(*name)


def _nearest(path: Path) -> str:
    """What a mistyped path may have meant, as a part of a sentence."""
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
        raise CheckpointError(f"no weights in {folder}: expected {WHOLE} or one of {SUFFIXES}")
    raise CheckpointError(
        f"several weights in {folder}, name the one to load: {', '.join(p.name for p in found)}"
    )


def _shards(index: Path) -> list[str]:
    """Names of the shards that an index lists; they lie beside it.

    Raises:
        CheckpointError: it is damaged, lists nothing, or names files elsewhere.
    """
    try:
        content = read_json(index)
        homes = content["weight_map"].values()
        names = sorted({checked_name(str(name), index) for name in homes})
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged, fetch it again ({error})") from error
    if not names or any(Path(name).suffix not in SUFFIXES for name in names):
        raise CheckpointError(
            f"{index} is damaged, fetch it again: it lists {', '.join(names) or 'no file'}, "
            "expected names of .safetensors files"
        )
    return names


def _on_hub(repository: str, file: str | None) -> tuple[Path, ...]:
    # The official SAM 2.1 repositories hold both: model.safetensors (transformers' names) and
    # e.g. sam2.1_hiera_tiny.pt.
    named = repository.split("/")[1].replace("-", "_") + ".pt"
    wanted = (file,) if file else (WHOLE, INDEX, named)
    for candidate in wanted:
        found = fetch(repository, candidate)
        if found is None:
            continue
        if candidate.endswith(INDEX):
            shards = [fetch(repository, shard) for shard in _shards(found)]
            return tuple(shard for shard in shards if shard is not None)
        return (found,)
    raise CheckpointError(f"hub repository {repository} has none of: {', '.join(wanted)}")


@dataclass(frozen=True, slots=True, eq=False)
class SafetensorsFiles:
    """One safetensors file, or the shards of one."""

    shapes: Mapping[str, tuple[int, ...]]
    _homes: Mapping[str, Any]  # the open file of each tensor

    @classmethod
    def open(cls, files: tuple[Path, ...]) -> "SafetensorsFiles":
        """Raises CheckpointError."""
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
        """One tensor. Raises KeyError."""
        tensor: Tensor = self._homes[name].get_tensor(name)
        return tensor


@dataclass(frozen=True, slots=True, eq=False)
class TorchFile:
    """A PyTorch file: a state dict, or a training checkpoint with one under "model"."""

    shapes: Mapping[str, tuple[int, ...]]
    _tensors: Mapping[str, Tensor]

    @classmethod
    def open(cls, file: Path) -> "TorchFile":
        """Raises CheckpointError."""
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
            raise _damaged(file, error) from error
        inner = content.get("model", content) if isinstance(content, dict) else None
        if not isinstance(inner, dict) or not all(isinstance(t, Tensor) for t in inner.values()):
            raise CheckpointError(
                f'{file} is no state dict: expected named tensors, alone or under "model"'
            )
        return cls({name: tuple(t.shape) for name, t in inner.items()}, inner)

    def read(self, name: str) -> Tensor:
        """One tensor. Raises KeyError."""
        return self._tensors[name]


@dataclass(frozen=True, slots=True, eq=False)
class Prefixed:
    """The part of some weights whose names begin with a prefix, which is taken off."""

    weights: Weights
    prefix: str

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of every tensor in this part."""
        return {
            name.removeprefix(self.prefix): shape
            for name, shape in self.weights.shapes.items()
            if name.startswith(self.prefix)
        }

    def read(self, name: str) -> Tensor:
        """One tensor. Raises KeyError."""
        return self.weights.read(self.prefix + name)


def tensors(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """All of them, one after another."""
    return ((name, weights.read(name)) for name in weights.shapes)


def _damaged(file: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(
        f"{file} is damaged, truncated or no weights file: fetch it again ({reason})"
    )
