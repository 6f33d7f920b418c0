"""Strict accounting of parameters: every name is known, every number is finite."""

from collections.abc import Iterable

import torch
from torch import Tensor

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


def refuse_not_finite(name: str, tensor: Tensor) -> None:
    """Refuse a weight that makes every result useless.

    Raises:
        CheckpointError: a value is NaN or infinite.
    """
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(
            f"weight {name} holds values that are not finite (NaN or infinity): the checkpoint is "
            "damaged or was saved by a training run that diverged; fetch it again"
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
