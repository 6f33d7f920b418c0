"""Read the questions of stage 2 from SA-V, in worker processes.

Objects of one video stay near each other in the order of an epoch, so that a worker serves them
from one decoding: videos are shuffled, and objects are shuffled within pools of 64 videos. The
release shuffles all objects, and decodes every video anew for each.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segment_concept.datasets.masklets import ROW_STEP
from segment_concept.datasets.sav import SavReader, SavVideo
from segment_concept.models.internvl.sizes import IMAGE_SIDE
from segment_concept.ops.contours import label_keyframe
from segment_concept.ops.resize import resize_bicubic
from segment_concept.train.concept_questions import (
    AS_PUBLISHED,
    Question,
    QuestionRules,
    draw_question,
)
from segment_concept.types import InputError

POOL = 64  # videos whose objects are shuffled together
_KEPT = 64 << 20  # bytes of pixels that a reader of single frames keeps
_MOST_TRIES = 100  # replacements of an example that cannot be read

SavObject = tuple[str, int]  # a video's name and an object's column
_local = threading.local()  # a reader for each thread of each process


@dataclass(frozen=True, slots=True)
class QuestionRequest:
    """An example to be loaded."""

    video: str
    column: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class ConceptExample:
    """A question with its pictures.

    Args:
        question: what was drawn.
        pictures: (n, 448, 448, 3) uint8, the outlined references and then the bare query.
        query: (S, S, 3) uint8, the query for the segmenter.
        truth: (S, S) bool, the object in the query.
        refused: (video, reason) of examples in whose place this one was read.
    """

    question: Question
    pictures: Tensor
    query: Tensor
    truth: Tensor
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSampler:
    """Which objects a step asks for: a function of the seed and the step's number alone."""

    objects: tuple[SavObject, ...]
    batch: int
    seed: int
    _epochs: dict[int, NDArray[np.int64]] = field(default_factory=dict, compare=False, repr=False)

    def requests(self, step: int) -> list[QuestionRequest]:
        """The examples of a step; those of one video are neighbors."""
        indices = range(step * self.batch, (step + 1) * self.batch)
        found = []
        for index in indices:
            epoch, place = divmod(index, len(self.objects))
            video, column = self.objects[self._order(epoch)[place]]
            found.append(QuestionRequest(video, column, _mixed(self.seed, index)))
        return sorted(found, key=lambda request: request.video)

    def sha256(self) -> str:
        """Of the objects in their order, as lines `<video> <column>`."""
        text = "".join(f"{video} {column}\n" for video, column in self.objects)
        return hashlib.sha256(text.encode()).hexdigest()

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs.clear()
            self._epochs[epoch] = pooled_order(self.objects, _mixed(self.seed, epoch))
        return self._epochs[epoch]


def pooled_order(objects: Sequence[SavObject], seed: int) -> NDArray[np.int64]:
    """An order of all objects: videos shuffled, objects shuffled within pools of videos."""
    rng = np.random.default_rng(seed)
    of_video: dict[str, list[int]] = {}
    for index, (video, _) in enumerate(objects):
        of_video.setdefault(video, []).append(index)
    videos = list(of_video)
    shuffled = [of_video[videos[i]] for i in rng.permutation(len(videos))]
    pools = [
        np.array([index for own in shuffled[i : i + POOL] for index in own], np.int64)
        for i in range(0, len(shuffled), POOL)
    ]
    return np.concatenate([rng.permutation(pool) for pool in pools])


@dataclass(frozen=True, slots=True)
class QuestionLoader:
    """Reads an example; one that cannot be read is replaced by a question about another object.

    Args:
        videos: by name.
        objects: from which replacements are drawn.
        side: of the segmenter's square input, in pixels.
        rules: how questions are drawn.
        whole: decode whole videos, which serves several objects of a video; otherwise only the
            frames of a question.
    """

    videos: Mapping[str, SavVideo]
    objects: tuple[SavObject, ...]
    side: int
    rules: QuestionRules = AS_PUBLISHED
    whole: bool = False

    def __call__(self, request: QuestionRequest) -> ConceptExample:
        """Read the example of a request, or a replacement.

        Raises:
            InputError: 100 replacements could not be read either.
        """
        refused: list[tuple[str, str]] = []
        rng = np.random.default_rng((request.seed, 1))
        for _ in range(_MOST_TRIES):
            try:
                return self._read(request, tuple(refused))
            except InputError as error:
                refused.append((request.video, str(error)))
            video, column = self.objects[int(rng.integers(len(self.objects)))]
            request = QuestionRequest(video, column, request.seed)
        raise InputError(
            f"{_MOST_TRIES} examples in a row cannot be read; the first reason: {refused[0][1]}"
        )

    def _read(
        self, request: QuestionRequest, refused: tuple[tuple[str, str], ...]
    ) -> ConceptExample:
        video, reader = self.videos[request.video], _reader(self.whole)
        masklets = reader.masklets(video)
        visible = masklets.areas > 0
        if request.column >= visible.shape[1]:
            raise InputError(
                f"{request.video} has {visible.shape[1]} objects, so there is no object "
                f"{request.column}: check the list of objects"
            )
        question = draw_question(visible, request.column, request.seed, self.rules)
        rows = sorted({question.query, *(r.row for r in question.references)})
        frames = reader.frames(video, [row * ROW_STEP for row in rows])
        frame_of = dict(zip(rows, frames, strict=True))
        pictures = [
            label_keyframe(frame_of[r.row], masklets.mask(r.row, r.column))
            for r in question.references
        ]
        query = frame_of[question.query]
        resized = [resize_bicubic(picture, IMAGE_SIDE) for picture in (*pictures, query)]
        return ConceptExample(
            question,
            torch.from_numpy(np.stack(resized)),
            torch.from_numpy(resize_bicubic(query, self.side)),
            truth_square(masklets.mask(question.query, request.column), self.side),
            refused,
        )


def _reader(whole: bool) -> SavReader:
    readers: dict[bool, SavReader] = _local.__dict__.setdefault("readers", {})
    if whole not in readers:
        readers[whole] = SavReader(whole=True) if whole else SavReader(_KEPT)
    return readers[whole]


def truth_square(mask: NDArray[np.bool_], side: int) -> Tensor:
    """(side, side) bool: the nearest pixel of the mask, as published for stage 2."""
    whole = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    return F.interpolate(whole, (side, side))[0, 0] > 0.5


def _mixed(*numbers: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
