"""Rows of proposals are cut and joined."""

import torch

from segment_concept.tracking.segmenter import Proposals


def proposals(rows: int, masks: int, first: int = 0) -> Proposals:
    number = torch.arange(first, first + rows).float()
    iou = number[:, None] + torch.arange(masks) / 10
    return Proposals(iou[:, :, None, None].expand(-1, -1, 2, 3), iou, iou[..., None], number)


def test_rows_are_taken_in_the_order_given():
    found = proposals(4, 2)[[2, 0]]
    assert found.presence.tolist() == [2, 0]
    assert found.iou[:, 0].tolist() == [2, 0]
    assert found.logits.shape == (2, 2, 2, 3)
    assert len(proposals(4, 2)[1:3]) == 2
    assert len(proposals(4, 2)[[]]) == 0


def test_parts_joined_are_the_whole():
    whole = proposals(4, 3)
    joined = Proposals.cat([whole[[0]], whole[1:4]])
    for name in ("logits", "iou", "pointers", "presence"):
        assert torch.equal(getattr(joined, name), getattr(whole, name))


def test_a_single_mask_is_repeated_next_to_rows_with_several():
    joined = Proposals.cat([proposals(1, 1), proposals(1, 3, first=5)])
    assert torch.equal(joined.iou[0], torch.zeros(3))
    assert joined.logits.shape == (2, 3, 2, 3)
    assert joined.pointers.shape == (2, 3, 1)


def test_presence_is_lowered_row_by_row():
    assert proposals(2, 1).lower_presence([0.0, 2.5]).presence.tolist() == [0.0, -1.5]
