"""What to do when a recipe needs more memory than a device has."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segment_concept.recipes import Recipe
from segment_concept.tracking.out_of_memory import general_advice, is_out_of_memory
from segment_concept.types import DeviceMemoryError


def memory_advice(recipe: Recipe, device: str) -> str:
    """Settings of a recipe that would fit, and what helps every recipe.

    Needs are estimates for one object. For weights of one's own they are unknown, and the settings
    are named without them.
    """
    from segment_concept.checkpoints.memory_estimate import GIB
    from segment_concept.checkpoints.recipe_memory import estimated_needs, smaller_recipes

    place = torch.device(device)
    smaller = smaller_recipes(recipe, place)
    if not smaller:
        return f"{general_advice()}, or use --device cpu"
    needs = {words: estimated_needs(variant, place) for words, variant in smaller}
    if not all(needs.values()):
        return f"These settings need less: {'; '.join(needs)}. {general_advice()}"
    room = _room(device)
    fitting = [
        f"{words} ({need[0].bytes / GIB:.1f} GiB)"
        for words, need in needs.items()
        if room is None or need[0].bytes <= room
    ]
    if not fitting:
        return f"No smaller setting is estimated to fit. {general_advice()}, or use --device cpu"
    return f"For one object these are estimated to fit: {'; '.join(fitting)}. {general_advice()}"


@contextmanager
def memory_advised(recipe: Recipe, device: str) -> Iterator[None]:
    """Answer for a device on which weights do not fit.

    Raises:
        DeviceMemoryError: the device ran out of memory; the message says what would fit.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None  # its frames hold the weights
        raise DeviceMemoryError(
            f"{device} ran out of memory while recipe {recipe.name} was loaded. "
            f"{memory_advice(recipe, device)}"
        ) from error


def _room(device: str) -> int | None:
    """Bytes that this process could have: what is free and what it has already."""
    from segment_concept.checkpoints.memory_estimate import free_bytes

    if not torch.cuda.is_available():
        return None
    free = free_bytes(device)
    return None if free is None else free + torch.cuda.memory_reserved(torch.device(device))
