import pytest

from segment_concept.recipes import RECIPES, Recipe, find_recipe
from segment_concept.types import InputError


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_by_its_own_name_and_says_what_it_is_for(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe.weights_size
    assert recipe.license


def test_an_unknown_recipe_is_answered_with_the_nearest_names():
    with pytest.raises(InputError, match=r"no recipe 'sec_compat': did you mean sec_compact"):
        find_recipe("sec_compat")


def test_a_name_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(InputError, match="there are sec_compact, "):
        find_recipe("zzzzzz")


def test_an_impossible_recipe_cannot_be_built():
    with pytest.raises(ValueError, match="keyframes must be at least 1"):
        Recipe(name="x", network="compact", weights="w", keyframes=0)
    with pytest.raises(ValueError, match="short_side must be at least 64"):
        Recipe(name="x", network="compact", weights="w", short_side=10)
