"""Weights of a tiny SAM 2.1 and of a tiny SeC, under their published names, made by a recipe.

Tests of loading, saving and converting need names and shapes, and weights that do not leave every
mask empty; they do not need those with which the references in `parity` were computed.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from helpers.fixtures import facts, fixture, temporary_folder
from helpers.weight_recipe import Recipe

Family = Literal["sam2", "sec"]


@cache
def tiny_weights(family: Family) -> dict[str, Tensor]:
    """Published name -> weight, in float16. The concept network of SeC is the reference's."""
    shapes = facts("parity/tiny_shapes")[family]
    options = facts("trackers/sam21_tiny_box_post")["options"]
    recipe = Recipe(overrides=[tuple(override) for override in options["overrides"]])
    made = recipe.weights({name: torch.empty(s, device="meta") for name, s in shapes.items()})
    half = {name: tensor.half() for name, tensor in made.items()}
    if family == "sec":
        half |= load_file(fixture("parity/sec_tiny_concept_weights.safetensors"))
    return half


@cache
def tiny_weights_file(family: Family) -> Path:
    """`tiny_weights`, as a file. Do not write to it: all tests share it."""
    path = temporary_folder() / f"{family}_tiny_weights.safetensors"
    save_file(tiny_weights(family), path)
    return path
