"""Strict accounting of parameter names."""

from collections.abc import Iterable

from segment_concept.types import CheckpointError

_LISTED = 8  # names in an error message; the rest is counted


def refuse_unknown_keys(
    unknown: Iterable[str], missing: Iterable[str], network: str, hint: str
) -> None:
    """Refuse weights that do not fit a network.

    Args:
        unknown: names that the network does not have.
        missing: names that it did not get.
        network: what it is called in the message.
        hint: a sentence on what may have been meant.

    Raises:
        CheckpointError: there is an unknown or a missing name; they are listed.
    """
    problems = [
        f"{len(names)} {what}: {_listed(names)}"
        for what, names in (("unknown", sorted(unknown)), ("missing", sorted(missing)))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"the weights are not those of {network}: {'; '.join(problems)}. {hint}"
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
