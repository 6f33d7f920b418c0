"""Where stored references are.

`tests/fixtures` holds one small case of every family. The larger ones are outside the repository,
in `../shared/fixtures` beside the project's folder, or else in the folder that the environment
variable SEGMENT_CONCEPT_FIXTURES names; `tests/fixtures/external.sha256` lists them. A test that
needs one of these is skipped where it is missing.
"""

import json
import os
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLONE = ROOT / "tests" / "fixtures"
BESIDE = ROOT.parent / "shared" / "fixtures"
VARIABLE = "SEGMENT_CONCEPT_FIXTURES"


def folders() -> list[Path]:
    """The folders with fixtures, in the order in which they are searched."""
    if BESIDE.is_dir():
        return [CLONE, BESIDE]
    given = os.environ.get(VARIABLE)
    return [CLONE, Path(given)] if given else [CLONE]


def fixture(name: str) -> Path:
    """The path of a fixture, such as "parity/hsv.json". Skips the test where it is missing."""
    for folder in folders():
        if (folder / name).exists():
            return folder / name
    pytest.skip(
        f"the fixture {name} is not in the repository: set {VARIABLE} to the folder that has it "
        "(docs/testing.md)",
        allow_module_level=True,
    )


def facts(name: str) -> Any:
    """The content of a JSON fixture."""
    return json.loads(fixture(f"{name}.json").read_text())


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="segment-concept-tests-")


def temporary_folder() -> Path:
    """A folder that is deleted when the process ends."""
    return Path(_temporary().name)


@cache
def unpacked(protocol: str) -> Path:
    """The folder of annotations and predictions that evaluators were run on, for one protocol.

    It comes from `evaluation/PROTOCOL.zip`. Do not write into it: all tests share it.
    """
    with zipfile.ZipFile(fixture(f"evaluation/{protocol}.zip")) as archive:
        archive.extractall(temporary_folder() / "evaluation")
    return temporary_folder() / "evaluation" / protocol
