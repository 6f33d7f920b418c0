"""How a network is run: number type, input size, compilation, on which frames."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from segment_concept.recipes.recipe import SQUARE, Compiled, DType, Recipe
from segment_concept.tracking.api import Every
from segment_concept.types import InputError

_RESIZED = SQUARE | {"compact"}


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Changes of a recipe that leave its method as it is. None changes nothing.

    Attributes:
        dtype: number type of the networks.
        size: input size in pixels, see `Recipe.resized`.
        compiled: how the networks are compiled.
        every: which frames are tracked, see `Recipe.every`.
    """

    dtype: DType | None = None
    size: int | None = None
    compiled: Compiled | None = None
    every: Every | None = None

    @property
    def given(self) -> bool:
        """Whether anything is changed."""
        return self != NetworkOptions()

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with these options.

        Raises:
            InputError: the network does not have one of them.
        """
        if self.dtype is not None:
            recipe = replace(recipe, dtype=self.dtype, concept_dtype="auto")
        if self.compiled is not None:
            recipe = replace(recipe, compiled=self.compiled)
        if self.every is not None:
            recipe = replace(recipe, every=self.every)
        return recipe if self.size is None else recipe.resized(self.size)

    def apply_where_possible(self, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
        """Several recipes, each with those of the options that its network has.

        Raises:
            InputError: none of the networks has one of the options, or a value is not possible.
        """
        taken = {
            "dtype": (self.dtype is not None, SQUARE),
            "size": (self.size is not None, _RESIZED),
            "compile": (self.compiled is not None, SQUARE),
            "every": (self.every is not None, _RESIZED),
        }
        for name, (wanted, networks) in taken.items():
            if wanted and not any(recipe.network in networks for recipe in recipes.values()):
                raise InputError(f"--{name} has no effect on any of these recipes: leave it out")
        return {name: self._kept_for(recipe).apply(recipe) for name, recipe in recipes.items()}

    def _kept_for(self, recipe: Recipe) -> "NetworkOptions":
        if recipe.network in SQUARE:
            return self
        if recipe.network in _RESIZED:
            return NetworkOptions(size=self.size, every=self.every)
        return NetworkOptions()
