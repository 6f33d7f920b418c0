"""The files of a training run: recipe, states, log.

`OUT/recipe.json` says what is trained and how. `OUT/state-<step>/` is everything that is needed to
go on: it is written under a hidden name and renamed when it is complete, and the last two are kept.
`OUT/log.jsonl` has one JSON object per line.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segment_concept.runtime.files import disk_errors, sync_all, write_atomic, write_json
from segment_concept.runtime.json_files import read_json
from segment_concept.types import CheckpointError, InputError, OutputError

TRAINED, AVERAGE, PROGRESS = "trained.safetensors", "average.safetensors", "progress.json"
_KEPT = 2  # states
RECIPE, _LOG, _OLD_STATE = "recipe.json", "log.jsonl", "state.pt"
_STATE = "state-"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: steps done.
        seconds: spent on them.
        skipped: how many of the last steps in a row were skipped.
        report: of the last validation.
        best: the report with the highest score so far, and its step.
        pending: figures of the steps that are not logged yet, as (sum, count).
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    report: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it to a state; figures may be NaN, which Python's JSON can hold."""
        write_atomic(folder / PROGRESS, json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "Progress":
        """Raises CheckpointError: the file is damaged."""
        try:
            return cls(**json.loads((folder / PROGRESS).read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder} is no complete state: {_remedy(folder)}") from error


def newest_state(out: Path) -> Path | None:
    """The folder of the newest complete state of a run, or None."""
    states = _states(out)
    return states[-1] if states else None


def _states(out: Path) -> list[Path]:
    found = [
        path
        for path in out.glob(f"{_STATE}*")
        if path.name.removeprefix(_STATE).isdigit() and (path / PROGRESS).is_file()
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix(_STATE)))


def trained_weights(out: Path) -> dict[str, Tensor]:
    """The weights to use of a run's newest state: their average if there is one.

    Names are those of the task's network; frozen parameters are not among them.

    Raises:
        CheckpointError: no state is there, or it is damaged.
    """
    state = newest_state(out)
    if state is None:
        raise CheckpointError(f"{out} has no state of a training run: train first")
    average = state / AVERAGE
    return read_weights(average if average.is_file() else state / TRAINED)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of a state.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {_remedy(path.parent)}") from error


def _remedy(state: Path) -> str:
    return f"delete {state.name}; the run then continues from the state before it"


def unfinished_state(out: Path, step: int) -> Path:
    """Where a state is written before it is complete."""
    return out / f".{_STATE}{step}"


def publish_state(out: Path, step: int) -> None:
    """Give a state that is completely written its name, and delete all but the last two."""
    unfinished, final = unfinished_state(out, step), out / f"{_STATE}{step}"
    sync_all(path for path in unfinished.rglob("*") if path.is_file())
    if final.exists():
        shutil.rmtree(final)
    unfinished.replace(final)
    for old in _states(out)[:-_KEPT]:
        shutil.rmtree(old)


def discard_unfinished(out: Path) -> None:
    """Delete what a killed run was writing."""
    for path in out.glob(f".{_STATE}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def state_errors(out: Path) -> Iterator[None]:
    """Turn errors while a state is written into an `OutputError`; earlier states stay.

    Raises:
        OutputError: the state could not be written.
    """
    try:
        with disk_errors(out):
            yield
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors report a full disk in exceptions of their own.
        discard_unfinished(out)
        raise OutputError(
            f"the state of the run cannot be written to {out} ({error}): earlier states are kept. "
            "Free some space and run the same command again"
        ) from error
    except OutputError:
        discard_unfinished(out)
        raise


def read_recipe(out: Path) -> dict[str, Any]:
    """The recipe of a run.

    Raises:
        InputError: the folder has none, or it is damaged.
    """
    path = out / RECIPE
    if not path.is_file():
        raise InputError(f"{out} is no folder of a training run: it has no {RECIPE}")
    recipe = read_json(path)
    if not isinstance(recipe, dict):
        raise InputError(f"{path} is damaged: expected a JSON object")
    return recipe


def keep_recipe(out: Path, recipe: Mapping[str, Any]) -> None:
    """Write the recipe of a new run, or compare it with that of the run in `out`.

    Raises:
        InputError: a run with another recipe, or one of an earlier version, is in the folder.
    """
    if (out / _OLD_STATE).is_file():
        raise InputError(
            f"{out / _OLD_STATE} is the state of a run of an earlier version, which cannot be "
            "continued: finish it with that version, or choose another folder with --out"
        )
    recipe = json.loads(json.dumps(recipe))
    if newest_state(out) is not None:
        different = differences(read_recipe(out), recipe)
        if different:
            raise InputError(
                f"the run in {out} has another recipe: {'; '.join(different)}. Give the same "
                "options to continue it, or choose another folder with --out"
            )
    write_json(out / RECIPE, recipe)


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two JSON values, as phrases like `schedule.steps was 10 and is 20`."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            phrase
            for key in sorted({*old, *new})
            for phrase in differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{name} was {json.dumps(old)} and is {json.dumps(new)}"]


def append_to_log(out: Path, row: Mapping[str, Any]) -> None:
    """Add one line to the log; numbers that are not finite become null."""
    plain = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
    with (out / _LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain) + "\n")


def cut_log(out: Path, step: int) -> None:
    """Delete the lines of steps after `step`, which are done again."""
    path = out / _LOG
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (KeyError, TypeError, ValueError):
            continue  # a line that a killed run was writing
    write_atomic(path, "".join(kept))
