"""Refuse weights with unknown or missing names, or with values that are not finite."""

from collections.abc import Iterable

import torch
from torch import Tensor

from segment_concept.types import CheckpointError

_LISTED = 8  # names in an error message; the rest is counted


def refuse_unknown_keys(
    unknown: Iterable[str], missing: Iterable[str], network: str, hint: str
) -> None:
    """Raise CheckpointError if names are unknown or missing.

    Args:
        unknown: names in the weights that the network does not have.
        missing: names of the network that the weights do not have.
        network: name of the network, for the message.
        hint: a sentence that tells what to do.

    Raises:
        CheckpointError: there are unknown or missing names; the message lists them.
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
    """Raise CheckpointError if a weight has NaN or infinite values.

    Raises:
        CheckpointError: a value is NaN or infinite.
    """
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(
            f"weight {name} has values that are not finite (NaN or infinity): the checkpoint is "
            "damaged or was saved by a training run that diverged; download it again"
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
