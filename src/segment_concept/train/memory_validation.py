"""How well a network in stage 1 remembers, on held-out videos of SA-V."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from segment_concept.datasets.masklets import NULL, ROW_STEP
from segment_concept.datasets.sav import SavReader, SavVideo
from segment_concept.models.sam2.network import SamNetwork
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.ops.overlap import mask_iou
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.train.losses import Losses
from segment_concept.train.memory_data import (
    ClipConfig,
    ClipOrder,
    MemoryClip,
    MemoryClipLoader,
    draw_clip,
)
from segment_concept.types import Frame, InputError, Mask, ObjectId

log = logging.getLogger(__name__)

VIDEOS = 48
_SEED = 900_000  # far from those of training
_PRESENCE_SHARE = 0.5  # of presence in the score


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Sums and counts of one held-out video."""

    predicted: tuple[float, float]  # J of visible objects on predicted frames of a shuffled clip
    tracked: tuple[float, float]  # J where the object is visible, tracked in order
    presence: tuple[float, float]  # frames whose mask is empty exactly where the object is absent


class HeldOutClips:
    """The first held-out videos, by name, that are long enough.

    Args:
        videos: held-out ones.
        clip: how clips are drawn in training; nothing is augmented here.
        side: pixels of the network's square input.
        most: number of videos.
    """

    def __init__(
        self, videos: Sequence[SavVideo], clip: ClipConfig, side: int, most: int = VIDEOS
    ) -> None:
        self._candidates, self._most = sorted(videos, key=lambda video: video.name), most
        self._clip, self._side = replace(clip, augmentation=None), side
        self._reader = SavReader(kept=0)

    @cached_property
    def _chosen(self) -> list[SavVideo]:
        found: list[SavVideo] = []
        for video in self._candidates:
            if len(found) == self._most:
                break
            try:
                areas = self._reader.masklets(video).areas
            except InputError as error:
                log.warning("not used for validation: %s", error)
                continue
            if draw_clip(areas, self._clip, np.random.default_rng(_SEED)) is not None:
                found.append(video)
        if not found:
            log.warning("no held-out video is long enough: there is no validation")
        return found

    def rows(
        self,
        network: SamNetwork,
        losses: Callable[[Sequence[MemoryClip]], Losses],
        rank: int,
        ranks: int,
    ) -> list[MemoryRow]:
        """Of every `ranks`-th video, from the `rank`-th on."""
        load = MemoryClipLoader(self._chosen, self._clip, self._side)
        places = np.arange(1, self._clip.frames)
        tracker = Tracker(Sam2Segmenter(network), ReliableMemory(network.sizes.slots))
        found = []
        for number in range(rank, len(self._chosen), ranks):
            drawn = np.random.default_rng([_SEED, number]).permutation(places)
            predicted = tuple(sorted(drawn[: self._clip.predicted].tolist()))
            clip = load(ClipOrder(number, (_SEED, number), predicted))
            iou = losses([clip]).measured["iou"]
            found.append(MemoryRow(iou, *self._tracked(tracker, self._chosen[number])))
        return found

    def _tracked(
        self, tracker: Tracker, video: SavVideo
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Follow the first object of a video in order, from the first frame that shows it."""
        masklets = self._reader.masklets(video)
        areas = masklets.areas
        rows = np.flatnonzero((areas != NULL).all(axis=1))
        begin = int(rows[(areas[rows] > 0).any(axis=1)][0])
        column = int(np.flatnonzero(areas[begin] > 0)[0])
        rows = rows[rows >= begin]
        who, session = ObjectId(1), tracker.session()
        js, right = [], []
        for number, row in enumerate(rows.tolist()):
            (rgb,) = self._reader.frames(video, [row * ROW_STEP])
            truth = masklets.mask(row, column)
            if number == 0:
                session.prompt(Frame(0, rgb), {who: Mask(truth)})
                continue
            mask = session.step(Frame(number, rgb)).mask(who)
            right.append(mask.any() == truth.any())
            if truth.any():
                js.append(mask_iou(mask, truth))
        return (float(sum(js)), float(len(js))), (float(sum(right)), float(len(right)))


def report_of(rows: Sequence[MemoryRow]) -> dict[str, float]:
    """Means over the videos' frames; the score is J in order plus half the share of presence.

    Without rows everything is NaN.
    """
    sums = {
        name: np.array([getattr(row, name) for row in rows], float).reshape(-1, 2).sum(axis=0)
        for name in ("predicted", "tracked", "presence")
    }
    means = {
        name: float(total / count) if count else float("nan")
        for name, (total, count) in sums.items()
    }
    return {
        "score": means["tracked"] + _PRESENCE_SHARE * means["presence"],
        "j_predicted": means["predicted"],
        "j": means["tracked"],
        "presence_right": means["presence"],
        "videos": float(len(rows)),
    }
