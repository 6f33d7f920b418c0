"""A checkpoint on disk that the builders read."""

from pathlib import Path

import pytest

from helpers.fixtures import fixture
from helpers.official_calls import WIRING
from helpers.tiny_weights import tiny_weights_file
from segment_concept.checkpoints.sec.load import UnstoredOptions, load_sec
from segment_concept.checkpoints.sec.save import save_sec


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny SeC, on disk as it is saved here."""
    model = load_sec(
        tiny_weights_file("sec"),
        tokenizer=fixture("parity/sec_tokenizer"),
        unstored=UnstoredOptions(128, WIRING),
    )
    save_sec(model, tmp_path / "sec")
    return tmp_path / "sec"
