"""Draws that are the same on every version of Python.

Of `random.Random` only the seeding by a text and `random()` are promised to stay; all else is
made from those.
"""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def chance(seed: int, *names: str) -> Random:
    """A source of draws of its own for whatever the names name."""
    return Random("/".join((str(seed), *names)))


def drawn(rng: Random, least: int, most: int) -> int:
    """A whole number from `least` to `most`, both included."""
    return least + int(rng.random() * (most - least + 1))


def between(rng: Random, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    return least + (most - least) * rng.random()


def shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    """The same items in a random order."""
    return sorted(items, key=lambda _: rng.random())
