import torch

from segment_concept.ops.boxes import NOWHERE, box_iou, boxes_around


def test_a_box_goes_from_the_first_to_the_last_pixel_of_its_mask():
    masks = torch.zeros(3, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, [0, 9], [11, 4]] = True
    masks[2, 7, 6] = True
    assert boxes_around(masks) == [(3, 2, 8, 4), (4, 0, 11, 9), (6, 7, 6, 7)]


def test_an_empty_mask_is_nowhere():
    assert boxes_around(torch.zeros(2, 4, 4, dtype=torch.bool)) == [NOWHERE, NOWHERE]


def test_overlap_is_intersection_over_union():
    assert box_iou((0, 0, 4, 2), (2, 0, 6, 2)) == 4 / 12
    assert box_iou((0, 0, 4, 2), (0, 0, 4, 2)) == 1
    assert box_iou((0, 0, 4, 2), (5, 0, 6, 2)) == 0


def test_boxes_without_area_overlap_nothing():
    assert box_iou(NOWHERE, NOWHERE) == 0
    assert box_iou((-2, -2, 2, 2), NOWHERE) == 0
    assert box_iou((3, 1, 3, 5), (3, 1, 3, 5)) == 0
