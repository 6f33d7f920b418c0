"""Pictures and masks on the network's square."""

import numpy as np
import torch

from segment_concept.ops.resize import mask_square, normalized_square, resize_bicubic


def test_a_gray_picture_keeps_its_color_at_any_size():
    resized = resize_bicubic(np.full((30, 50, 3), 90, np.uint8), 16)
    assert resized.shape == (16, 16, 3)
    assert (resized == 90).all()


def test_pixels_are_normalised_by_imagenets_mean_and_spread():
    pixels = normalized_square(np.full((8, 8, 3), 255, np.uint8), 4)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(pixels, expected[:, None, None].expand(3, 4, 4))


def test_a_pixel_of_the_square_is_set_where_half_of_it_is_covered():
    bitmap = np.zeros((8, 8), bool)
    bitmap[:, :4] = True
    assert mask_square(bitmap, 4).tolist() == [[1.0, 1.0, 0.0, 0.0]] * 4


def test_a_mask_too_small_for_the_square_leaves_its_most_covered_pixel():
    bitmap = np.zeros((100, 100), bool)
    bitmap[52, 33] = True
    square = mask_square(bitmap, 10)
    assert square.sum() == 1
    assert square[5, 3] == 1


def test_an_empty_mask_stays_empty():
    assert mask_square(np.zeros((20, 20), bool), 10).sum() == 0
