"""Number type, input size and compilation, chosen without changing the method."""

from dataclasses import replace

import pytest

from segment_concept.recipes import find_recipe
from segment_concept.recipes.network_options import NetworkOptions
from segment_concept.types import InputError


@pytest.mark.parametrize(
    "name", ["sam2_tiny", "samurai_large", "sam2long_small", "edgetam", "sec_4b"]
)
def test_full_size_recipes_take_every_option(name):
    recipe = NetworkOptions("float16", 512, "inductor").apply(find_recipe(name))
    assert (recipe.dtype, recipe.image_side, recipe.compiled) == ("float16", 512, "inductor")


def test_one_number_type_is_that_of_both_networks_of_sec():
    recipe = replace(find_recipe("sec_4b"), concept_dtype="float32")
    assert NetworkOptions(dtype="bfloat16").apply(recipe).concept_dtype == "auto"


def test_the_size_of_the_compact_model_is_its_short_side():
    recipe = NetworkOptions(size=256).apply(find_recipe("sec_compact"))
    assert (recipe.short_side, recipe.image_side) == (256, None)


def test_no_option_changes_nothing():
    recipe = find_recipe("sec_4b")
    assert NetworkOptions().apply(recipe) == recipe
    assert not NetworkOptions().given


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "sam2_tiny",
            NetworkOptions(size=500),
            "side of 500 pixels: recipe sam2_tiny takes multiples of 32",
        ),
        ("edgetam", NetworkOptions(size=640), "takes multiples of 256 from 256 to 1024"),
        ("sam2_tiny", NetworkOptions(size=2048), "from 128 to 1024"),
        ("sam2_tiny", NetworkOptions(dtype="int8"), "dtype='int8': expected one of auto, float32"),
        ("sec_4b", NetworkOptions(compiled="yes"), "compiled='yes': expected one of auto, no"),
        ("sec_compact", NetworkOptions(size=10), "size of 10 pixels: short_side must be at least"),
        ("sec_compact", NetworkOptions(dtype="bfloat16"), "computes in float32 only"),
        ("xmem", NetworkOptions(compiled="inductor"), "recipe xmem cannot be compiled"),
        ("cutie_base", NetworkOptions(size=512), "recipe cutie_base always reads 480 lines"),
    ],
)
def test_what_a_network_does_not_have_is_refused_in_a_sentence(name, options, said):
    with pytest.raises(InputError, match=said):
        options.apply(find_recipe(name))


def test_several_recipes_take_what_they_have():
    chosen = {name: find_recipe(name) for name in ("sec_compact", "sam2_tiny", "xmem")}
    found = NetworkOptions("bfloat16", 512).apply_where_possible(chosen)
    assert found["xmem"] == chosen["xmem"]
    assert found["sec_compact"] == replace(chosen["sec_compact"], short_side=512)
    assert found["sam2_tiny"] == replace(chosen["sam2_tiny"], dtype="bfloat16", image_side=512)
    found = NetworkOptions(every="auto").apply_where_possible(chosen)
    assert [found[name].every for name in chosen] == ["auto", "auto", 1]


def test_an_option_that_none_of_several_recipes_has_is_refused():
    chosen = {name: find_recipe(name) for name in ("sec_compact", "sam2_compact")}
    with pytest.raises(InputError, match="--dtype has no effect on any of these recipes"):
        NetworkOptions("bfloat16").apply_where_possible(chosen)
