"""The state of a session, to take back what was tried with it."""

from dataclasses import fields
from typing import Any


def state_of(session: Any) -> dict[str, Any]:
    """The fields of a session, which are immutable or dictionaries of such, by name."""
    values = {field.name: getattr(session, field.name) for field in fields(session)}
    return {name: _copied(value) for name, value in values.items()}


def restore_state(session: Any, state: dict[str, Any]) -> None:
    """Set the fields of a session to those of `state_of`, which can be used again."""
    for name, value in state.items():
        setattr(session, name, _copied(value))


def is_in_state(session: Any, state: dict[str, Any]) -> bool:
    """Whether nothing of a session was changed since it was in a state."""
    return all(_is_same(getattr(session, name), value) for name, value in state.items())


def _copied(value: Any) -> Any:
    return dict(value) if type(value) is dict else value


def _is_same(now: Any, before: Any) -> bool:
    if type(now) is not dict or type(before) is not dict:
        return now is before
    return list(now) == list(before) and all(now[key] is before[key] for key in before)
