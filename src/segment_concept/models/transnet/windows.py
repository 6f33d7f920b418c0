"""A video of any length through a network that reads a hundred pictures at a time."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from segment_concept.models.transnet.network import TransNet

WINDOW = 100  # as published
STEP = 50  # the scores of the middle ones are taken
MARGIN = (WINDOW - STEP) // 2


@torch.inference_mode()
def _scores(window: list[Tensor], network: TransNet) -> list[float]:
    device = network.ends.weight.device
    logits = network(torch.stack(window)[None].to(device))[0, MARGIN : MARGIN + STEP]
    scores: list[float] = logits.sigmoid().tolist()
    return scores


def ends_of_shots(pictures: Iterable[Tensor], network: TransNet) -> Iterator[float]:
    """For every picture, in their order, the score that a shot ends there.

    Windows overlap by half, so that no frame is judged without 25 on each side; the first and the
    last picture stand for those before and after the video, as published. At most a hundred
    pictures (27, 48, 3) uint8 are held.
    """
    window: list[Tensor] = []
    waiting = 0  # pictures without a score
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
