"""Read JSON files that a stranger may have written: limits first, then one plain error."""

import json
import math
from pathlib import Path
from typing import Any

from segment_concept.runtime.limits import read_text
from segment_concept.types import InputError

_LONGEST_INTEGER = 100  # digits: no count, id or coordinate has more


def read_json(path: Path, remedy: str = "") -> Any:
    """Return the content of a JSON file.

    Args:
        path: the file.
        remedy: what the user can do if it cannot be read; ends the error message.

    Raises:
        InputError: the file is missing, no regular file, too large, not JSON, nested too deeply,
            or holds a number that is not finite.
    """
    try:
        return parse_json(read_text(path, "JSON file"), str(path))
    except InputError as error:
        if not remedy:
            raise
        raise InputError(f"{error}: {remedy}") from error


def parse_json(text: str, name: str) -> Any:
    """Return the content of JSON text.

    Args:
        text: the document.
        name: what to call it in errors, such as its path.

    Raises:
        InputError: as `read_json`.
    """
    try:
        return json.loads(
            text, parse_float=_finite, parse_int=_integer, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise InputError(f"{name} is not usable: its JSON is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    except _NumberError as error:
        raise InputError(f"{name} holds a number that cannot be used: {error}") from error


class _NumberError(ValueError):
    """Says which number."""


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NumberError(f"{text[:20]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise _NumberError(f"an integer of {len(text)} digits")
    return int(text)


def _refuse_constant(name: str) -> float:
    raise _NumberError(f"{name} is not a number of JSON")
