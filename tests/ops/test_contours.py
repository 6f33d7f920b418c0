import numpy as np
import pytest

from segment_concept.ops.contours import label_keyframe
from segment_concept.ops.resize import resize_bicubic
from segment_concept.types import InputError

GREEN = (0, 255, 0)


@pytest.fixture
def ring():
    """A filled square with a hole: its outer contour is the square's."""
    mask = np.zeros((40, 60), bool)
    mask[10:30, 15:45] = True
    mask[18:22, 25:35] = False
    return mask


def test_the_outer_contour_is_green_and_a_hole_is_not_outlined(ring):
    rgb = np.full((40, 60, 3), 90, np.uint8)
    labelled = label_keyframe(rgb, ring)
    assert tuple(labelled[10, 30]) == GREEN
    assert tuple(labelled[29, 30]) == GREEN
    assert tuple(labelled[18, 30]) == (90, 90, 90)
    assert tuple(labelled[14, 30]) == (90, 90, 90)


def test_the_frame_itself_is_not_drawn_on(ring):
    rgb = np.zeros((40, 60, 3), np.uint8)
    label_keyframe(rgb, ring)
    assert not rgb.any()


def test_a_read_only_or_flipped_frame_can_be_labelled(ring):
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    flipped = rgb[:, ::-1]
    flipped.flags.writeable = False
    assert np.array_equal(
        label_keyframe(flipped, ring), label_keyframe(np.ascontiguousarray(flipped), ring)
    )


def test_an_empty_mask_leaves_the_picture_as_it_is():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.array_equal(label_keyframe(rgb, np.zeros((40, 60), bool)), rgb)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"60x39.*60x40"):
        label_keyframe(np.zeros((40, 60, 3), np.uint8), np.zeros((39, 60), bool))


def test_resizing_makes_a_square_whatever_the_aspect():
    assert resize_bicubic(np.zeros((40, 60, 3), np.uint8)[:, ::2], 28).shape == (28, 28, 3)
