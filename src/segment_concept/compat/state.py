"""What a script carries from call to call: a video, the objects, and their session."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from segment_concept.tracking.concept import Keyframe, KeyframeBank
from segment_concept.tracking.memory import Memory, MemoryBank, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import Candidate, MemoryPolicy
from segment_concept.tracking.segmenter import NO_OBJECT_LOGIT
from segment_concept.tracking.session import Session, upsample_logits
from segment_concept.types import Frame, InputError, Mask, ObjectId, Prompt
from segment_concept.video.source import VideoSource, read_frame

_LIKE_A_DICT = ("num_frames", "video_height", "video_width", "obj_ids")


@dataclass(frozen=True, slots=True)
class Unforgetting:
    """Recalls and chooses as another policy, but forgets nothing.

    So that, as with SAM 2, any frame of the video can be corrected at any time.
    """

    policy: MemoryPolicy

    def recall(self, bank: MemoryBank, moment: PlaybackPosition) -> Recall:
        """As the other."""
        return self.policy.recall(bank, moment)

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """As the other."""
        return self.policy.choose(tracks, candidates)

    def forget(self, bank: MemoryBank, moment: PlaybackPosition) -> MemoryBank:
        """The bank as it is."""
        return bank


@dataclass(slots=True, eq=False)
class InferenceState:
    """Made by `VideoPredictor.init_state`; scripts hand it back and look at no more than its size.

    `obj_ids` are the objects in the order of the rows of every answer, those without a prompt
    included. `prompts` holds for each object what it was shown on which frame. Scripts number
    objects as they like, from 0 for the most part; a session counts from 1, since 0 stands for
    the background in a label map: `numbers` holds its number for each of theirs.
    """

    source: VideoSource
    session: Session
    obj_ids: list[int] = field(default_factory=list)
    prompts: dict[int, dict[int, Prompt]] = field(default_factory=dict)
    numbers: dict[int, ObjectId] = field(default_factory=dict)
    last: Frame | None = None  # reused where it is prompted again: its features are known

    @property
    def num_frames(self) -> int | None:
        """About how many frames the video has; None where its container does not say."""
        return self.source.info.frames

    @property
    def video_height(self) -> int:
        """Pixels."""
        return self.source.info.size[0]

    @property
    def video_width(self) -> int:
        """Pixels."""
        return self.source.info.size[1]

    def __getitem__(self, name: str) -> Any:
        """The few entries of SAM 2's dictionary that scripts read."""
        if name not in _LIKE_A_DICT:
            raise KeyError(f"{name!r}: of SAM 2's state there are {', '.join(_LIKE_A_DICT)}")
        return getattr(self, name)

    def frame(self, index: int) -> Frame:
        """A frame of the video. Raises InputError where there is none."""
        if self.last is None or self.last.index != index:
            self.last = read_frame(self.source, index)
        return self.last

    def seen(self, frame: Frame) -> Frame:
        """The frame, or the same one that was read before."""
        if self.last is None or self.last.index != frame.index:
            self.last = frame
        return self.last

    def show(self, obj_id: int, index: int, prompt: Prompt) -> None:
        """Show the session an object, a new one or one that it knows.

        Raises:
            InputError: there is no such frame, or the prompt does not fit it.
        """
        number = self.numbers.get(obj_id, len(self.numbers) + 1)
        self.session.prompt(self.frame(index), {number: prompt})
        if obj_id not in self.obj_ids:
            self.obj_ids.append(obj_id)
        self.numbers[obj_id] = number
        self.prompts.setdefault(obj_id, {})[index] = prompt

    def remove(self, obj_id: int) -> None:
        """Forget an object; shown again, it has its number back."""
        self.prompts.pop(obj_id, None)
        self.obj_ids.remove(obj_id)
        if self.numbers[obj_id] in self.session.tracks:
            self.session.remove(self.numbers[obj_id])

    def reset(self) -> None:
        """Forget all objects."""
        self.session = self.session.tracker.session()
        for kept in (self.obj_ids, self.prompts, self.numbers):
            kept.clear()

    def masks(self, index: int) -> Tensor:
        """(O, 1, H, W) logits of every object on a frame; -1024 where it has none."""
        known = {
            row: memory.logits
            for row, obj_id in enumerate(self.obj_ids)
            if (memory := self._memory(self.numbers[obj_id], index)) is not None
        }
        size, non_overlapping = self.source.info.size, self.session.tracker.non_overlapping
        logits = upsample_logits(list(known.values()), size, non_overlapping=non_overlapping)
        whole = torch.full((len(self.obj_ids), *size), NO_OBJECT_LOGIT, device=logits.device)
        whole[list(known)] = logits
        return whole[:, None]

    def first_prompted(self) -> int:
        """The earliest frame on which an object was shown.

        Raises:
            InputError: none was.
        """
        frames = [index for shown in self.prompts.values() for index in shown]
        if not frames:
            raise InputError("nothing to track: add points, a box or a mask first")
        return min(frames)

    def withdraw(self, obj_id: int, index: int) -> None:
        """Take back what an object was shown on a frame.

        As in SAM 2 the frame stays in its memory, as one that was tracked; an object that was
        shown on no other frame is forgotten.
        """
        if self.prompts.get(obj_id, {}).pop(index, None) is None:
            return
        object_id = self.numbers[obj_id]
        if not self.prompts[obj_id]:
            self.session.remove(object_id)
            return
        tracks = self.session.tracks[object_id]
        self.session.tracks[object_id] = tuple(
            replace(track, bank=_demoted(track.bank, index)) for track in tracks
        )
        self.session.banks[object_id] = self._without_keyframe(obj_id, index)

    def _memory(self, object_id: ObjectId, index: int) -> Memory | None:
        tracks = self.session.tracks.get(object_id)
        return tracks[0].bank.on(index) if tracks else None

    def _without_keyframe(self, obj_id: int, index: int) -> KeyframeBank:
        """A bank is never empty: the earliest frame still shown takes the place of the last."""
        bank = self.session.banks[self.numbers[obj_id]]
        kept = tuple(k for k in bank.keyframes if k.frame.index != index)
        if kept:
            return replace(bank, keyframes=kept)
        first, shown = min(self.prompts[obj_id].items(), key=lambda item: item[0])
        frame = self.frame(first)
        if isinstance(shown, Mask):
            return replace(bank, keyframes=(Keyframe(frame, shown.bitmap),))
        memory = self._memory(self.numbers[obj_id], first)
        assert memory is not None, "prompted frames are never forgotten"
        mask = upsample_logits([memory.logits], frame.size, non_overlapping=False)[0] > 0
        return replace(bank, keyframes=(Keyframe(frame, mask.cpu().numpy()),))


def _demoted(bank: MemoryBank, index: int) -> MemoryBank:
    """A prompted frame becomes a tracked one."""
    memory = next(m for m in bank.prompted if m.frame_index == index)
    prompted = tuple(m for m in bank.prompted if m is not memory)
    return replace(bank, prompted=prompted).remember(memory)
