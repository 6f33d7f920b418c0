"""A two-layer InternVL2.5 without SeC's parts, on disk as on the hub."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from helpers.fixtures import facts, fixture

SEG_ROW = 262


def write_base(folder: Path) -> Path:
    """The fixture's SeC without segmenter, projection at [SEG], and [SEG] itself."""
    folder.mkdir(parents=True)
    weights = load_file(fixture("parity/sec_tiny_weights.safetensors"))
    kept = {
        name: tensor.float()
        for name, tensor in weights.items()
        if name.startswith(("vision_model.", "mlp1.", "language_model."))
    }
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        kept[name] = kept[name][:SEG_ROW].clone()
    save_file(kept, folder / "model.safetensors")
    config = facts("parity/sec_tiny_config")["sec_config"]
    config["llm_config"]["vocab_size"] = SEG_ROW
    (folder / "config.json").write_text(json.dumps(config))
    for file in fixture("parity/sec_tokenizer").iterdir():
        shutil.copyfile(file, folder / file.name)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if t["content"] != "[SEG]"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    text = (folder / "tokenizer_config.json").read_text()
    told = json.loads(text)
    for key in ("additional_special_tokens", "extra_special_tokens"):
        if isinstance(told.get(key), list):
            told[key] = [token for token in told[key] if token != "[SEG]"]
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder
