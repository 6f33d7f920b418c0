"""How much memory recipes need, told without their weights."""

from dataclasses import replace

import pytest
import torch

from segment_concept.checkpoints.recipe_memory import estimated_needs
from segment_concept.recipes import RECIPES, find_recipe
from segment_concept.recipes.recipe import BUNDLED

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
MIB = 1 << 20

# Published sizes of the files, MiB; SAM 2.1's and the others' hold float32.
FILES = {"sam2_tiny": 149, "sam2_large": 856, "cutie_base": 134, "xmem": 237}


def need(name: str, device: torch.device = CPU) -> float:
    return estimated_needs(find_recipe(name), device)[0].bytes / MIB


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_that_is_not_bundled_is_estimated(name: str) -> None:
    needs = estimated_needs(find_recipe(name), CPU)
    assert bool(needs) == (find_recipe(name).weights != BUNDLED)


@pytest.mark.parametrize("name", FILES)
def test_the_weights_are_within_and_work_comes_on_top(name: str) -> None:
    assert FILES[name] + 200 < need(name) < FILES[name] + 1500


def test_three_histories_need_more_than_one() -> None:
    assert need("sam2_large") == need("samurai_large") < need("sam2long_large")


def test_sec_needs_half_on_a_gpu_where_its_numbers_are_half_as_wide() -> None:
    assert need("sec_4b", GPU) == pytest.approx(need("sec_4b") / 2, rel=1e-3)
    assert 7 * 1024 < need("sec_4b", GPU) < 9 * 1024  # 3.64 thousand million weights in bfloat16


def test_ways_to_need_less_follow_the_mildest_first() -> None:
    needs = estimated_needs(find_recipe("sec_4b"), GPU)
    assert [n.variant for n in needs] == ["", "four_bit=True", "language_device='cpu'"]
    assert needs[0].bytes > max(n.bytes for n in needs[1:])


@pytest.mark.parametrize("name", ["sam2_tiny", "sec_4b", "xmem"])
def test_weights_of_ones_own_are_not_guessed_at(name: str) -> None:
    assert estimated_needs(replace(find_recipe(name), weights="mine.pt"), CPU) == ()
