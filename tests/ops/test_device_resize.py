"""Resizing by matrix products: PIL's pixels."""

import itertools

import numpy as np
import pytest
import torch

from segment_concept.ops.device_resize import split_coefficients, square_on_device
from segment_concept.ops.resize import normalized_square, normalized_squares, resize_bicubic

CPU = torch.device("cpu")
SIZES = [
    (480, 854), (360, 640), (240, 426), (720, 1280), (1080, 1920), (1920, 1080), (96, 128),
    (448, 800), (1024, 1024), (448, 448), (1, 7), (3, 2000), (577, 433), (64, 64), (1023, 1025),
]  # fmt: skip
SIDES = [64, 128, 448, 1024]


def picture(size: tuple[int, int], kind: str) -> np.ndarray:
    random = np.random.default_rng(size[0] * size[1])
    noise = random.integers(0, 256, (*size, 3), np.uint8)
    return noise if kind == "noise" else np.where(noise > 127, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_those_of_pil_to_the_last_bit(size):
    side = SIDES[sum(size) % len(SIDES)]
    image = picture(size, "noise")
    found = square_on_device(image, side, CPU).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, resize_bicubic(image, side))


@pytest.mark.parametrize(
    ("size", "side"), [((480, 854), 448), ((480, 854), 1024), ((720, 1280), 448), ((90, 160), 1024)]
)
def test_they_are_so_for_black_and_white(size, side):
    image = picture(size, "black and white")
    found = square_on_device(image, side, CPU).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, resize_bicubic(image, side))


@pytest.mark.parametrize("size", [(480, 854), (1080, 1920)], ids=str)
def test_products_in_fewer_bits_would_change_nothing(size):
    """Coefficients have at most 11 significant bits, so that TF32 multiplies them exactly."""
    for length, side in itertools.product(size, (448, 1024)):
        coefficients, _ = split_coefficients(length, side, CPU)
        mantissa, _ = torch.frexp(coefficients.double())
        assert torch.equal(mantissa * 2**11, (mantissa * 2**11).round())


def test_a_size_that_float32_cannot_sum_is_refused():
    with pytest.raises(ValueError, match="cannot be resized"):
        split_coefficients(65535, 64, CPU)


def test_such_an_image_is_made_smaller_before_it_is_copied():
    there = normalized_squares([picture((2, 4000), "noise")], 64, torch.device("meta"), torch.half)
    assert there.shape == (1, 3, 64, 64)


def test_another_device_gets_images_normalised_as_a_cpu_does():
    images = [picture((48, 80), "noise"), picture((48, 80), "black and white")]
    there = normalized_squares(images, 64, torch.device("meta"), torch.bfloat16)
    assert there.shape == (2, 3, 64, 64)
    assert there.dtype == torch.bfloat16
    here = normalized_squares(images, 64, CPU, torch.bfloat16)
    assert torch.equal(here[1], normalized_square(images[1], 64))
