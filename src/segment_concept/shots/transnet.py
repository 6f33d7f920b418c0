"""TransNet V2 (Soucek and Lokoc, arXiv 2008.04838), for inference with the released weights.

Shapes: B clips, T frames, C channels, h w pixels of an image, K filters of a branch.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.shots.content import thumbnail
from segment_concept.types import Frame

PICTURE = (27, 48)  # (h, w) of the input
FILTERS = (16, 32, 64)  # per branch, by stage
DILATIONS = (1, 2, 4, 8)  # temporal, one per branch
BATCH_NORM_EPS = 1e-3
REACH = 50  # frames on each side with which a frame is compared
COMPARED = 128  # width of the comparison features
HIDDEN = 1024


class TransNet(nn.Module):
    """Predicts for every frame of a clip whether its shot ends there."""

    def __init__(self) -> None:
        super().__init__()
        branches = len(DILATIONS)
        inputs = (3, *(branches * k for k in FILTERS[:-1]))
        self.stages = nn.ModuleList(_Stage(c, k) for c, k in zip(inputs, FILTERS, strict=True))
        self.projection = nn.Linear(branches * sum(FILTERS), COMPARED)
        self.likeness = nn.Linear(2 * REACH + 1, COMPARED)
        self.colors = nn.Linear(2 * REACH + 1, COMPARED)
        height, width = (side // 2 ** len(FILTERS) for side in PICTURE)
        self.hidden = nn.Linear(branches * FILTERS[-1] * height * width + 2 * COMPARED, HIDDEN)
        self.ends = nn.Linear(HIDDEN, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, T) logits that a shot ends on a frame; `pictures` are (B, T, 27, 48, 3) uint8 RGB."""
        if tuple(pictures.shape[2:]) != (*PICTURE, 3) or pictures.dtype != torch.uint8:
            raise ValueError(
                f"expected (B, T, {PICTURE[0]}, {PICTURE[1]}, 3) uint8, "
                f"got {tuple(pictures.shape)} of {pictures.dtype}"
            )
        maps = pictures.permute(0, 4, 1, 2, 3).to(self.ends.weight.dtype) / 255
        means = []
        for stage in self.stages:
            maps = stage(maps)
            means.append(maps.mean(dim=(3, 4)))
        described = self.projection(torch.cat(means, dim=1).transpose(1, 2))
        compared = F.relu(self.likeness(_compared(described)))
        colored = F.relu(self.colors(_compared(_histograms(pictures).to(maps.dtype))))
        flat = maps.permute(0, 2, 3, 4, 1).flatten(2)
        hidden = F.relu(self.hidden(torch.cat((colored, compared, flat), dim=2)))
        logits: Tensor = self.ends(hidden)[..., 0]
        return logits


class _Stage(nn.Module):
    """Two dilated layers with a shortcut around the second, then 2x spatial pooling."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.first = _Dilated(channels, filters)
        self.second = _Dilated(len(DILATIONS) * filters, filters)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, T, h, w) -> (B, 4K, T, h/2, w/2)."""
        first = F.relu(self.first(maps))
        return F.avg_pool3d(F.relu(self.second(first)) + first, (1, 2, 2))


class _Dilated(nn.Module):
    """Four branches with different temporal dilation, concatenated."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Branch(channels, filters, d) for d in DILATIONS)
        self.norm = nn.BatchNorm3d(len(DILATIONS) * filters, eps=BATCH_NORM_EPS)

    def forward(self, maps: Tensor) -> Tensor:
        normed: Tensor = self.norm(torch.cat([branch(maps) for branch in self.branches], dim=1))
        return normed


class _Branch(nn.Module):
    """A spatial convolution, then a temporal one."""

    def __init__(self, channels: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.space = nn.Conv3d(channels, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.time = nn.Conv3d(
            2 * filters,
            filters,
            (3, 1, 1),
            dilation=(dilation, 1, 1),
            padding=(dilation, 0, 0),
            bias=False,
        )

    def forward(self, maps: Tensor) -> Tensor:
        timed: Tensor = self.time(self.space(maps))
        return timed


def _compared(descriptions: Tensor) -> Tensor:
    """(B, T, 101) similarity of each frame to its neighbors; 0 beyond the ends of the clip.

    `descriptions` is (B, T, C), of any length; the similarity is the cosine.
    """
    unit = F.normalize(descriptions, dim=2)
    alike = F.pad(unit @ unit.transpose(1, 2), (REACH, REACH))
    length = alike.shape[1]
    around = torch.arange(2 * REACH + 1, device=alike.device)
    columns = torch.arange(length, device=alike.device)[:, None] + around
    return alike.gather(2, columns.expand(len(alike), -1, -1))


def _histograms(pictures: Tensor) -> Tensor:
    """(B, T, 512) normalized color histograms, 8 bins per channel."""
    red, green, blue = (pictures >> 5).long().unbind(-1)
    color = ((red << 6) + (green << 3) + blue).flatten(2)
    counts = torch.zeros((*color.shape[:2], 512), device=pictures.device)
    return counts.scatter_add_(2, color, torch.ones_like(color, dtype=counts.dtype))


WINDOW = 100  # as published
STEP = 50  # only the scores of the middle frames are used
MARGIN = (WINDOW - STEP) // 2


@torch.inference_mode()
def _scores(window: list[Tensor], network: TransNet) -> list[float]:
    device = network.ends.weight.device
    logits = network(torch.stack(window)[None].to(device))[0, MARGIN : MARGIN + STEP]
    scores: list[float] = logits.sigmoid().tolist()
    return scores


def ends_of_shots(pictures: Iterable[Tensor], network: TransNet) -> Iterator[float]:
    """Yield for every image, in order, the score that a shot ends there.

    Windows overlap by half, so that every frame has 25 neighbors on each side; the first and the
    last image are repeated beyond the ends of the video, as published. At most 100 images
    (27, 48, 3) uint8 are in memory.
    """
    window: list[Tensor] = []
    waiting = 0  # images without a score
    for picture in pictures:
        if not window:
            window = [picture] * MARGIN
        window.append(picture)
        waiting += 1
        if len(window) == WINDOW:
            yield from _scores(window, network)
            window, waiting = window[STEP:], waiting - STEP
    while waiting > 0:
        window += [window[-1]] * (WINDOW - len(window))
        yield from _scores(window, network)[:waiting]
        window, waiting = window[STEP:], waiting - STEP


__all__ = ["PICTURE", "TransNet", "ends_of_shots"]

ENDS_ABOVE = 0.5  # score of TransNet V2 above which a shot ends, as published


def learned_cuts(frames: Iterable[Frame], network: TransNet) -> Iterator[int]:
    """Yield the frame indices that start a shot according to TransNet V2, as they are found.

    After a gradual transition this is the first frame after it. At most 100 images of 48x27 pixels
    are in memory, for a video of any length.
    """
    indices: list[int] = []  # indices of the frames without a score yet

    def pictures() -> Iterator[torch.Tensor]:
        for frame in frames:
            indices.append(frame.index)
            yield torch.from_numpy(thumbnail(frame.rgb, PICTURE))

    ending = False
    for score in ends_of_shots(pictures(), network):
        index = indices.pop(0)
        ended, ending = ending, score > ENDS_ABOVE
        if ended and not ending:
            yield index
