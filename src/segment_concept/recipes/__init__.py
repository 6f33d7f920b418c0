"""Named, complete configurations: a recipe is a function, a variant is `replace`."""

import difflib
from collections.abc import Callable
from functools import partial

from segment_concept.recipes.catalog import (
    cutie_base,
    edgetam,
    sam2,
    sam2_compact,
    sam2long,
    sam2long_compact,
    samurai,
    samurai_compact,
    sec_4b,
    sec_compact,
    sec_edgetam,
    xmem,
)
from segment_concept.recipes.recipe import SAM2_FILES, Recipe
from segment_concept.types import InputError

__all__ = ["RECIPES", "Recipe", "find_recipe"]

_BUNDLED = (sec_compact, sam2_compact, samurai_compact, sam2long_compact)
_OTHERS = (cutie_base, xmem)
RECIPES: dict[str, Callable[[], Recipe]] = {
    **{make.__name__: make for make in (*_BUNDLED, sec_4b, edgetam, sec_edgetam)},
    **{
        f"{make.__name__}_{size}": partial(make, size)
        for make in (sam2, samurai, sam2long)
        for size in SAM2_FILES
    },
    **{make.__name__: make for make in _OTHERS},
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
