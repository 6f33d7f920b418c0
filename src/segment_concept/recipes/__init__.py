"""Named, complete configurations: a recipe is a function, a variant is `replace`."""

import difflib
from collections.abc import Callable

from segment_concept.recipes.track import (
    Recipe,
    cutie_base,
    sam2_base_plus,
    sam2_compact,
    sam2_large,
    sam2_small,
    sam2_tiny,
    sam2long_base_plus,
    sam2long_compact,
    sam2long_large,
    sam2long_small,
    sam2long_tiny,
    samurai_base_plus,
    samurai_compact,
    samurai_large,
    samurai_small,
    samurai_tiny,
    sec_4b,
    sec_4b_offline,
    sec_compact,
    sec_compact_offline,
    xmem,
)
from segment_concept.types import InputError

__all__ = ["RECIPES", "Recipe", "find_recipe"]

RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe
    for recipe in (
        sec_compact,
        sec_compact_offline,
        sam2_compact,
        samurai_compact,
        sam2long_compact,
        sec_4b,
        sec_4b_offline,
        sam2_tiny,
        sam2_small,
        sam2_base_plus,
        sam2_large,
        samurai_tiny,
        samurai_small,
        samurai_base_plus,
        samurai_large,
        sam2long_tiny,
        sam2long_small,
        sam2long_base_plus,
        sam2long_large,
        cutie_base,
        xmem,
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
