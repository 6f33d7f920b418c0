"""A two-layer SeC with random weights, written to disk in every layout in which people have SeC."""

import json
import shutil
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.fixtures import facts, fixture
from helpers.tiny_weights import tiny_weights, tiny_weights_file
from segment_concept.checkpoints.sec.load import SecModel, UnstoredOptions, load_sec
from segment_concept.models.sam2.sizes import HieraWiring

TOKENIZER = fixture("parity/sec_tokenizer")
UNTOLD = UnstoredOptions(image_side=128, wiring=HieraWiring(1, (8, 4, 8, 4), (3,)))
SHARDS = 4


@cache
def published_weights() -> dict[str, Tensor]:
    """Under SeC's published names, in float32."""
    return {name: tensor.float() for name, tensor in tiny_weights("sec").items()}


@cache
def reference() -> SecModel:
    return load_sec(tiny_weights_file("sec"), tokenizer=TOKENIZER, unstored=UNTOLD)


def state(model: SecModel) -> dict[str, Tensor]:
    """All weights of both networks."""
    segmenter, concept = model.segmenter.network.state_dict(), model.network.state_dict()
    return {f"segmenter.{n}": t for n, t in segmenter.items()} | {
        f"concept.{n}": t for n, t in concept.items()
    }


def same(one: SecModel, two: SecModel) -> bool:
    ours, theirs = state(one), state(two)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def shard_name(number: int) -> str:
    return f"model-{number:05d}-of-{SHARDS:05d}.safetensors"


def write_published(folder: Path) -> Path:
    """As on the hub: float32 shards with their index, config.json, the tokenizer's files."""
    folder.mkdir()
    weights = published_weights()
    names = sorted(weights)
    homes = {name: shard_name(1 + i * SHARDS // len(names)) for i, name in enumerate(names)}
    for file in set(homes.values()):
        save_file({n: weights[n] for n in names if homes[n] == file}, folder / file)
    index = {"metadata": {}, "weight_map": homes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = facts("parity/sec_tiny_config")["sec_config"]
    config["auto_map"] = {"AutoModel": "modeling_sec.SeCModel"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_sec.py").write_text("raise RuntimeError('code of a checkpoint ran')")
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    return folder


def write_single(path: Path, dtype: torch.dtype) -> Path:
    """As ComfyUI's users have it: one file, nothing beside it."""
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.to(dtype) for name, tensor in published_weights().items()}, path)
    return path
