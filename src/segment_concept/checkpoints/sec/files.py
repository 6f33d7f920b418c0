"""Find the files of a SeC checkpoint: weights, configuration and tokenizer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segment_concept.checkpoints.files import SafetensorsFiles, TorchFile, Weights, find_files
from segment_concept.runtime.json_files import read_json
from segment_concept.types import CheckpointError, InputError

PUBLISHED = "OpenIXCLab/SeC-4B"
CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (
    TOKENIZER_CONFIG,
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
FORMATS = "segment-concept/sec-"  # prefix of the format name of a model saved here
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})\.safetensors")


@dataclass(frozen=True, slots=True)
class SecFiles:
    """The files of a SeC checkpoint.

    Args:
        weights: one file, or all shards.
        config: content of the `config.json` next to them; None if there is none.
        tokenizer: folder with the tokenizer's files.
    """

    weights: tuple[Path, ...]
    config: Mapping[str, Any] | None
    tokenizer: Path

    @property
    def saved_here(self) -> bool:
        """Whether it was written by `save_sec`."""
        return self.config is not None and str(self.config.get("format")).startswith(FORMATS)

    def open(self) -> Weights:
        """Open the weights without reading tensors.

        Raises:
            CheckpointError: a shard is missing or damaged.
        """
        if self.weights[0].suffix == ".safetensors":
            return SafetensorsFiles.open(self.weights)
        return TorchFile.open(self.weights[0])


def find_sec(source: str | Path, tokenizer: str | Path | None = None) -> SecFiles:
    """Find the files of a checkpoint, downloading them from the hub if needed.

    Args:
        source: see `load_sec`.
        tokenizer: tokenizer folder, if it is neither next to the weights nor on the hub.

    Raises:
        CheckpointError: a file is missing; the message says what to do.
    """
    weights, repository = _located(source)
    return SecFiles(
        weights,
        _config(weights[0].parent, repository),
        Path(tokenizer).expanduser() if tokenizer else _find_tokenizer(weights[0], repository),
    )


def find_internvl(source: str | Path, tokenizer: str | Path | None = None) -> SecFiles:
    """Find the files of a base model, InternVL2.5 without SeC's parts. Parameters: `find_sec`.

    Raises:
        CheckpointError: a file is missing; the message says what to do.
    """
    weights, repository = _located(source)
    config = _config(weights[0].parent, repository)
    if config is None or "llm_config" not in config:
        raise CheckpointError(
            f"{source} has no config.json of an InternVL2.5 model: give the folder or the Hugging "
            "Face repository of a base model, such as OpenGVLab/InternVL2_5-4B"
        )
    if tokenizer:
        return SecFiles(weights, config, Path(tokenizer).expanduser())
    if repository is not None:
        return SecFiles(weights, config, _hub_tokenizer(repository, f"in {repository}"))
    beside = weights[0].parent
    found = next((f for f in (beside, beside / "tokenizer") if _has_tokenizer(f)), None)
    if found is None:
        raise CheckpointError(
            f"no tokenizer next to {weights[0]}: put the files of the base model's tokenizer there "
            f"({TOKENIZER_CONFIG} and tokenizer.json, or vocab.json with merges.txt)"
        )
    return SecFiles(weights, config, found)


def _located(source: str | Path) -> tuple[tuple[Path, ...], str | None]:
    """The weights, and the repository of the hub that they come from, if they do."""
    weights = find_files(source)
    _refuse_lone_shard(weights)
    local = Path(source).expanduser().exists()
    return weights, None if local else "/".join(str(source).split("/")[:2])


def _has_tokenizer(folder: Path) -> bool:
    return (folder / TOKENIZER_CONFIG).is_file()


def _refuse_lone_shard(weights: tuple[Path, ...]) -> None:
    shard = _SHARD.fullmatch(weights[0].name)
    if len(weights) == 1 and shard and int(shard[2]) > 1:
        raise CheckpointError(
            f"{weights[0]} is one of {int(shard[2])} shards: give the folder with all of them, "
            f"with {shard[1]}.safetensors.index.json"
        )


def _config(folder: Path, repository: str | None) -> Mapping[str, Any] | None:
    """Content of `config.json`; None if there is none or it belongs to something else."""
    if repository is None:
        path = folder / CONFIG
        return _ours_or_secs(path) if path.is_file() else None
    found = _fetched(f"{repository}/{CONFIG}")
    return _ours_or_secs(found) if found else None


def _ours_or_secs(path: Path) -> Mapping[str, Any] | None:
    try:
        config = read_json(path)
    except InputError as error:
        raise CheckpointError(f"{path} is damaged: download it again ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a configuration: expected a JSON object")
    return config if "llm_config" in config or "format" in config else None


def _find_tokenizer(weights: Path, repository: str | None) -> Path:
    beside = weights.parent
    named = (beside, beside / "tokenizer", weights.with_suffix(""), beside / "SeC-4B")
    if repository is None:
        found = next((f for f in named if _has_tokenizer(f)), None)
        return found or _hub_tokenizer(PUBLISHED, f"next to {weights}")
    if _fetched(f"{repository}/{TOKENIZER_CONFIG}") and repository != PUBLISHED:
        return _hub_tokenizer(repository, f"in {repository}")
    return _hub_tokenizer(PUBLISHED, f"in {repository}")


def _hub_tokenizer(repository: str, looked: str) -> Path:
    """Download the tokenizer of a repository and return its folder in the hub's cache."""
    try:
        config = find_files(f"{repository}/{TOKENIZER_CONFIG}")[0]
    except CheckpointError as error:
        raise CheckpointError(
            f"no tokenizer {looked}, and {repository}'s cannot be downloaded: put its files "
            f"({', '.join(TOKENIZER_FILES[2:5])}, {TOKENIZER_CONFIG}) next to the weights or in a "
            "folder `tokenizer` there, or give their folder (`Recipe.tokenizer` in Python, "
            f"`segment-concept convert --tokenizer`) ({error})"
        ) from error
    for file in TOKENIZER_FILES[1:]:
        _fetched(f"{repository}/{file}")
    return config.parent


def _fetched(name: str) -> Path | None:
    """Download an optional file of a repository; None if that fails."""
    try:
        return find_files(name)[0]
    except CheckpointError:
        return None
