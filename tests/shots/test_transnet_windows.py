"""How a video of any length goes through the shot detector, seen with a network of one rule."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from segment_concept.shots.transnet import MARGIN, PICTURE, STEP, WINDOW, TransNet, ends_of_shots


class Changes(nn.Module):
    """A shot ends where the next picture is another; it notes how many pictures it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = nn.Linear(1, 1)
        self.lengths: list[int] = []

    def forward(self, pictures: Tensor) -> Tensor:
        self.lengths.append(pictures.shape[1])
        level = pictures[..., 0, 0, 0].int()
        changes = nn.functional.pad((level[:, 1:] != level[:, :-1]).float(), (0, 1))
        return 20 * changes - 10


def pictures(levels: list[int]) -> Iterator[Tensor]:
    return (torch.full((*PICTURE, 3), level, dtype=torch.uint8) for level in levels)


@pytest.mark.parametrize("length", [1, 2, 25, 49, 50, 51, 74, 75, 76, 100, 149, 150, 151, 260])
def test_every_picture_gets_one_score_in_its_order(length: int) -> None:
    levels = [0 if n < length // 3 else 1 if n < length - 1 else 2 for n in range(length)]
    network = Changes()
    scores = list(ends_of_shots(pictures(levels), network))  # type: ignore[arg-type]
    expected = [a != b for a, b in zip(levels, [*levels[1:], levels[-1]], strict=True)]
    assert [score > 0.5 for score in scores] == expected
    assert set(network.lengths) == {WINDOW}
    assert len(network.lengths) == -(-length // STEP)


def test_no_video_has_no_shots() -> None:
    assert list(ends_of_shots(pictures([]), Changes())) == []  # type: ignore[arg-type]


def test_scores_come_while_the_video_is_read() -> None:
    read: list[int] = []

    def watched() -> Iterator[Tensor]:
        for number, one in enumerate(pictures([0] * 1000)):
            read.append(number)
            yield one

    scores = ends_of_shots(watched(), Changes())  # type: ignore[arg-type]
    next(scores)
    assert len(read) == WINDOW - MARGIN
    for _ in range(STEP):
        next(scores)
    assert len(read) == WINDOW - MARGIN + STEP


def test_pictures_of_another_size_or_kind_are_refused() -> None:
    network = TransNet()
    with pytest.raises(ValueError, match=r"expected \(B, T, 27, 48, 3\) uint8, got \(1, 4, 48, 27"):
        network(torch.zeros(1, 4, 48, 27, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"of torch\.float32"):
        network(torch.zeros(1, 4, 27, 48, 3))
