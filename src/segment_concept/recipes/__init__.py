"""Named, complete configurations: a recipe is a function, a variant is `replace`."""

import difflib
from collections.abc import Callable

from segment_concept.recipes.track import (
    Recipe,
    sam2_base_plus,
    sam2_compact,
    sam2_large,
    sam2_small,
    sam2_tiny,
    sec_compact,
)
from segment_concept.types import InputError

__all__ = ["RECIPES", "Recipe", "find_recipe"]

RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe
    for recipe in (
        sec_compact,
        sam2_compact,
        sam2_tiny,
        sam2_small,
        sam2_base_plus,
        sam2_large,
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: there is none; the message lists the nearest names.
    """
    if name in RECIPES:
        return RECIPES[name]()
    near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(RECIPES)}"
    raise InputError(f"there is no recipe {name!r}: {hint}")
