import numpy as np
import pytest
import torch

from segment_concept.types import (
    Box,
    CheckpointError,
    Frame,
    FrameResult,
    InputError,
    Mask,
    ObjectId,
    Points,
    SegmentConceptError,
    check_prompt,
    check_prompts,
)

FRAME = Frame(3, np.zeros((12, 20, 3), np.uint8))


def result(*logits: list[list[float]], ids: tuple[int, ...]) -> FrameResult:
    rows = torch.tensor(logits) if logits else torch.zeros(0, 2, 2)
    scores = torch.ones(len(ids))
    return FrameResult(0, tuple(map(ObjectId, ids)), rows, scores, scores)


def test_a_frame_has_its_height_and_width():
    assert FRAME.size == (12, 20)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((12, 20), np.uint8),
        np.zeros((12, 20, 4), np.uint8),
        np.zeros((12, 20, 3), np.float32),
    ],
)
def test_a_frame_that_is_not_rgb_bytes_is_refused(rgb):
    with pytest.raises(InputError, match=r"frame 7: expected RGB pixels \(H, W, 3\) uint8, got"):
        Frame(7, rgb)


@pytest.mark.parametrize("corners", [(5, 5, 5, 9), (5, 9, 8, 9), (8, 2, 5, 9)])
def test_an_empty_box_is_refused(corners):
    with pytest.raises(InputError, match=r"empty box .* expected x0,y0,x1,y1"):
        Box(*corners)


def test_points_need_a_label_each():
    with pytest.raises(InputError, match="2 points but 1 labels"):
        Points(((1, 1), (2, 2)), (True,))


def test_points_need_a_point_or_a_box():
    with pytest.raises(InputError, match="no point was given"):
        Points((), ())
    assert Points((), (), Box(0, 0, 2, 2)).box == Box(0, 0, 2, 2)


def test_points_on_the_object_are_all_foreground():
    assert Points.on((1, 2), (3, 4)) == Points(((1, 2), (3, 4)), (True, True))


def test_a_mask_without_a_foreground_pixel_is_refused():
    with pytest.raises(InputError, match="no foreground pixel: nothing to track"):
        Mask(np.zeros((12, 20), np.bool_))


NAN, INFINITY = float("nan"), float("inf")


TOO_LARGE = [1e300, 10**400, 10**5000]


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY, *TOO_LARGE], ids=range(6))
def test_a_coordinate_that_is_no_place_is_refused(value):
    with pytest.raises(InputError, match="number of pixels"):
        Box(0, 0, value, 5)
    with pytest.raises(InputError, match="number of pixels"):
        Points.on((1, value))


@pytest.mark.parametrize("value", [None, "wide", "\u00b2", True, [1], {}, np.zeros(2)])
def test_a_coordinate_that_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="expected a number of pixels"):
        Box(0, 0, value, 5)


def test_a_box_given_as_x_y_width_height_is_recognized():
    with pytest.raises(InputError, match=r"x,y,width,height\? Then give 300,200,350,260"):
        Box(300, 200, 50, 60)


@pytest.mark.parametrize(
    "labels",
    [(1, 0), [1, 0], (1.0, 0.0), np.array([1, 0]), np.array([True, False]), torch.tensor([1, 0])],
)
def test_labels_that_mean_the_same_are_the_same(labels):
    assert Points(((1, 1), (2, 2)), labels) == Points(((1, 1), (2, 2)), (True, False))
    assert all(type(label) is bool for label in Points(((1, 1), (2, 2)), labels).foreground)


@pytest.mark.parametrize(
    "xy", [[[1, 2]], np.array([[1, 2]]), torch.tensor([[1.0, 2.0]]), [("1", 2)]]
)
def test_points_that_mean_the_same_are_the_same(xy):
    assert Points(xy, [True]) == Points.on((1, 2))


@pytest.mark.parametrize("box", [(1, 2, 3, 4), [1.0, 2, 3, 4], np.array([1, 2, 3, 4])])
def test_a_box_with_points_may_be_four_numbers(box):
    assert Points((), (), box).box == Box(1, 2, 3, 4)


@pytest.mark.parametrize("label", [-1, 2, 3, "1", None, 0.5, (1, 0)])
def test_a_label_without_meaning_is_refused(label):
    with pytest.raises(InputError, match=r"expected 1 \(True\) on the object"):
        Points(((1, 1),), (label,))


@pytest.mark.parametrize("xy", [5, "1,2", (1, 2), ((1, 2, 3),), {1: 2}, np.zeros(())])
def test_points_of_another_form_are_refused(xy):
    with pytest.raises(InputError, match=r"points are pairs such as \(\(x, y\), \(x, y\)\)"):
        Points(xy, (True,))


SQUARE = np.zeros((12, 20), np.bool_)
SQUARE[2:5, 3:7] = True


@pytest.mark.parametrize(
    "values",
    [
        SQUARE.astype(np.uint8),
        SQUARE.astype(np.uint8) * 255,
        SQUARE.astype(np.float32),
        SQUARE[None],
        SQUARE[..., None].astype(np.int64) * 255,
        torch.from_numpy(SQUARE),
        SQUARE.tolist(),
    ],
)
def test_masks_that_mean_the_same_are_the_same(values):
    assert (Mask(values).bitmap == SQUARE).all()
    assert Mask(values).bitmap.dtype == np.bool_


@pytest.mark.parametrize(
    "values",
    [SQUARE * np.uint8(3), SQUARE * 0.4, SQUARE + SQUARE.T.reshape(12, 20) * 2.0, SQUARE * NAN],
)
def test_a_mask_of_other_numbers_is_refused_with_the_remedy(values):
    with pytest.raises(InputError, match="pass `array == id` of a map of ids"):
        Mask(values)


def test_a_mask_with_channels_is_refused():
    with pytest.raises(InputError, match=r"two dimensions \(H, W\), got \(12, 20, 3\)"):
        Mask(np.ones((12, 20, 3), np.bool_))


@pytest.mark.parametrize("prompt", [(2, 3, 8, 9), SQUARE, "box", None])
def test_an_invalid_prompt_is_refused_with_the_valid_kinds(prompt):
    with pytest.raises(InputError, match=r"object 1: .*pass Box\(x0, y0, x1, y1\)"):
        check_prompts(FRAME, {1: prompt})


@pytest.mark.parametrize("object_id", ["1", 1.0, 0, None, -3])
def test_an_object_without_a_number_is_refused(object_id):
    with pytest.raises(InputError, match="objects are numbered from 1"):
        check_prompts(FRAME, {object_id: Box(0, 0, 5, 5)})
    check_prompts(FRAME, {np.int64(1): Box(0, 0, 5, 5)})


def test_shares_of_the_picture_are_recognized():
    with pytest.raises(InputError, match=r"relative to the image size\? In pixels they .* 2,4,6,7"):
        check_prompt(Box(0.125, 0.33, 0.31, 0.58), FRAME)
    with pytest.raises(InputError, match=r"relative to the image size\? In pixels it .* \(5, 9\)"):
        check_prompt(Points.on((0.25, 0.75)), FRAME)


@pytest.mark.parametrize("box", [Box(3, 3, 3.4, 9), Box(-5, 2, 0.5, 9), Box(3, 11.5, 9, 20)])
def test_a_box_of_less_than_a_pixel_is_refused(box):
    with pytest.raises(InputError, match="covers less than a pixel of frame 3"):
        check_prompt(box, FRAME)


def test_a_mask_of_another_size_than_its_frame_is_refused():
    with pytest.raises(InputError, match="the mask is 12x20 but frame 3 is 20x12"):
        check_prompt(Mask(np.ones((20, 12), np.bool_)), FRAME)
    check_prompt(Mask(np.ones((12, 20), np.bool_)), FRAME)


@pytest.mark.parametrize("xy", [(-0.5, 3), (20, 3), (3, 12), (3, -1)])
def test_a_point_outside_its_frame_is_refused(xy):
    with pytest.raises(InputError, match=r"lies outside frame 3, which is 20x12 \(x from 0 to 19"):
        check_prompt(Points.on((1, 1), xy), FRAME)


def test_points_at_the_very_edge_are_inside():
    check_prompt(Points.on((0, 0), (19.9, 11.9)), FRAME)


@pytest.mark.parametrize(
    "box", [Box(20, 0, 25, 5), Box(0, 12, 5, 15), Box(-5, 0, 0, 5), Box(0, -5, 5, 0)]
)
def test_a_box_outside_its_frame_is_refused(box):
    with pytest.raises(InputError, match=r"the box .* lies outside frame 3, which is 20x12"):
        check_prompt(box, FRAME)
    with pytest.raises(InputError, match=r"the box .* lies outside"):
        check_prompt(Points(((1, 1),), (True,), box), FRAME)


def test_a_box_that_reaches_over_the_edge_is_taken():
    check_prompt(Box(-3, -3, 30, 30), FRAME)


def test_a_mask_is_where_the_logit_is_above_zero():
    found = result([[0.0, 0.1], [-1.0, 5.0]], ids=(4,))
    assert found.mask(4).tolist() == [[False, True], [False, True]]
    assert found.mask(4).dtype == np.bool_


def test_an_object_that_is_not_followed_has_no_mask():
    with pytest.raises(KeyError, match="object 9 is not tracked"):
        result([[1.0]], ids=(4,)).mask(9)


def test_overlapping_pixels_of_a_label_map_go_to_the_higher_logit():
    found = result([[1.0, 5.0], [-2.0, -1.0]], [[2.0, 4.0], [3.0, -9.0]], ids=(7, 300))
    assert found.label_map().tolist() == [[300, 7], [300, 0]]
    assert found.label_map().dtype == np.int32


def test_at_equal_logits_the_object_prompted_first_has_the_pixel():
    assert result([[2.0]], [[2.0]], ids=(5, 3)).label_map().tolist() == [[5]]


def test_the_label_map_of_no_objects_is_background():
    assert result(ids=()).label_map().tolist() == [[0, 0], [0, 0]]


def test_a_result_with_a_row_too_few_cannot_be_made():
    with pytest.raises(ValueError, match="disagree on O"):
        result([[1.0]], ids=(1, 2))


def test_every_error_raised_on_purpose_can_be_caught_as_one():
    assert issubclass(InputError, SegmentConceptError)
    assert issubclass(CheckpointError, SegmentConceptError)
    assert issubclass(InputError, ValueError)
