"""The inference state of a video: its objects, prompts and session."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from segment_concept.compat.entries import DictLike, Images
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.ops.holes import fill_holes
from segment_concept.tracking.concept import Keyframe, KeyframeBank
from segment_concept.tracking.memory import Memory, MemoryBank, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import Candidate, MemoryPolicy
from segment_concept.tracking.results import upsample_logits
from segment_concept.tracking.segmenter import NO_OBJECT_LOGIT
from segment_concept.tracking.session import Session
from segment_concept.types import Frame, InputError, Mask, ObjectId, Prompt
from segment_concept.video.source import VideoSource, read_frame


@dataclass(frozen=True, slots=True)
class KeepAllMemories:
    """Recalls and chooses like another policy, but keeps all memories.

    As in SAM 2, any frame of the video can then be corrected at any time.
    """

    policy: MemoryPolicy

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        """As the other policy."""
        return self.policy.recall(bank, position)

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """As the other policy."""
        return self.policy.choose(tracks, candidates)

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        """The bank as it is."""
        return bank


@dataclass(slots=True, eq=False)
class InferenceState(DictLike):
    """Made by `VideoPredictor.init_state`; can be read like SAM 2's dictionary.

    Scripts use any object ids, often from 0. Sessions count from 1, because 0 is the background in
    label maps.

    Attributes:
        source: the video.
        session: tracks the objects.
        image_size: side of the network's square input, in pixels.
        device: device of the network.
        obj_ids: the objects in the order of rows in all results, including those without a
            prompt.
        prompts: for each object its prompts, by frame.
        numbers: the session's number for each object.
        absent: for each object the frames on which an empty mask was given.
        pending: for each object and frame that was prompted after the last propagation, the
            object's earlier memory of that frame.
        released: memories of objects whose last prompt was removed; they start again with
            their next prompt.
        last: the last frame, whose features are cached by the session.
    """

    source: VideoSource
    session: Session
    image_size: int
    device: torch.device
    obj_ids: list[int] = field(default_factory=list)
    prompts: dict[int, dict[int, Prompt]] = field(default_factory=dict)
    numbers: dict[int, ObjectId] = field(default_factory=dict)
    absent: dict[int, set[int]] = field(default_factory=dict)
    pending: dict[tuple[int, int], Memory | None] = field(default_factory=dict)
    released: dict[int, MemoryBank] = field(default_factory=dict)
    last: Frame | None = None
    _count: int | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames of the video; counted if its container does not have it."""
        if self.source.info.frames is not None:
            return self.source.info.frames
        if self._count is None:
            self._count = sum(1 for _ in self.source.frames())
        return self._count

    @property
    def video_height(self) -> int:
        """Pixels."""
        return self.source.info.size[0]

    @property
    def video_width(self) -> int:
        """Pixels."""
        return self.source.info.size[1]

    @property
    def images(self) -> Images:
        """The frames as network input, read on access."""
        return Images(self.source, self.num_frames, self.image_size, self.device)

    @property
    def storage_device(self) -> torch.device:
        """Device of the memories."""
        return self.device

    @property
    def obj_id_to_idx(self) -> dict[int, int]:
        """The row of each object in all results."""
        return {obj_id: row for row, obj_id in enumerate(self.obj_ids)}

    @property
    def obj_idx_to_id(self) -> dict[int, int]:
        """The object of each row."""
        return dict(enumerate(self.obj_ids))

    def frame(self, index: int) -> Frame:
        """A frame of the video. Raises InputError if it does not exist."""
        if index < 0:
            raise InputError(f"there is no frame {index}: frames count from 0")
        if self.last is None or self.last.index != index:
            self.last = read_frame(self.source, index)
        return self.last

    def seen(self, frame: Frame) -> Frame:
        """The frame, or the equal one that was read before."""
        if self.last is None or self.last.index != frame.index:
            self.last = frame
        return self.last

    def prompt(self, obj_id: int, index: int, prompt: Prompt) -> None:
        """Prompt an object on a frame, a new one or one that is tracked.

        Raises:
            InputError: there is no such frame, or the prompt does not fit it.
        """
        number = self.numbers.get(obj_id, len(self.numbers) + 1)
        before = self._memory(number, index)
        self.session.prompt(self.frame(index), {number: prompt})
        self._note(obj_id, number)
        self.released.pop(obj_id, None)
        self.pending.setdefault((obj_id, index), before)
        self.absent.get(obj_id, set()).discard(index)
        self.prompts.setdefault(obj_id, {})[index] = prompt

    def mark_absent(self, obj_id: int, index: int) -> None:
        """Mark an object as absent on a frame; its prompt there is removed.

        Raises:
            InputError: there is no such frame.
        """
        self.frame(index)
        self._note(obj_id, self.numbers.get(obj_id, len(self.numbers) + 1))
        self.withdraw(obj_id, index)
        self.absent.setdefault(obj_id, set()).add(index)

    def remove(self, obj_id: int) -> None:
        """Remove an object. It keeps its number if it is prompted again."""
        self.obj_ids.remove(obj_id)
        for kept in (self.prompts, self.absent, self.released):
            kept.pop(obj_id, None)
        self.pending = {key: m for key, m in self.pending.items() if key[0] != obj_id}
        if self.numbers[obj_id] in self.session.tracks:
            self.session.remove(self.numbers[obj_id])

    def reset(self) -> None:
        """Remove all objects."""
        self.session = self.session.tracker.session()
        for kept in (self.prompts, self.numbers, self.absent, self.pending, self.released):
            kept.clear()
        self.obj_ids.clear()

    def masks(self, index: int, *, propagated: bool = False) -> Tensor:
        """(O, 1, H, W) logits of every object on a frame; -1024 if it has no mask.

        With `propagated`, objects without any remaining prompt have no mask.
        """
        found: dict[int, Tensor] = {}
        for row, obj_id in enumerate(self.obj_ids):
            memory = self._memory(self.numbers[obj_id], index)
            if memory is None and not propagated and obj_id in self.released:
                memory = self.released[obj_id].on(index)
            if memory is not None and index not in self.absent.get(obj_id, ()):
                found[row] = self._filled(memory.logits)
        size, tracker = self.source.info.size, self.session.tracker
        guided = tracker.guided_contours and found
        logits = upsample_logits(
            list(found.values()),
            size,
            non_overlapping=tracker.non_overlapping,
            picture=self.frame(index).rgb if guided else None,
        )
        rows = torch.full((len(self.obj_ids), *size), NO_OBJECT_LOGIT, device=logits.device)
        rows[list(found)] = logits
        return rows[:, None]

    def first_prompted(self) -> int:
        """The earliest frame on which an object was prompted.

        Raises:
            InputError: there is no prompt.
        """
        frames = [index for prompts in self.prompts.values() for index in prompts]
        frames += [index for absent in self.absent.values() for index in absent]
        if not frames:
            raise InputError("nothing to track: add points, a box or a mask first")
        return min(frames)

    def withdraw(self, obj_id: int, index: int) -> None:
        """Remove the prompt of an object on a frame.

        As in SAM 2, a prompt after the last propagation is removed completely. An older one stays
        in the object's memory as a tracked frame.
        """
        self.absent.get(obj_id, set()).discard(index)
        if self.prompts.get(obj_id, {}).pop(index, None) is None:
            return
        number = self.numbers[obj_id]
        is_pending = (obj_id, index) in self.pending
        before = self.pending.pop((obj_id, index), None)
        tracks = self.session.tracks[number]
        stays = before if is_pending else tracks[0].bank.on(index)
        kept = tuple(replace(track, bank=_demoted(track.bank, index, stays)) for track in tracks)
        if not self.prompts[obj_id]:
            self.session.remove(number)
            self.released[obj_id] = kept[0].bank
            return
        self.session.tracks[number] = kept
        self.session.banks[number] = self._without_keyframe(obj_id, index)

    def _note(self, obj_id: int, number: ObjectId) -> None:
        if obj_id not in self.obj_ids:
            self.obj_ids.append(obj_id)
        self.numbers[obj_id] = number

    def _filled(self, logits: Tensor) -> Tensor:
        segmenter = self.session.tracker.segmenter
        if not isinstance(segmenter, Sam2Segmenter):
            return logits
        return fill_holes(logits, segmenter.options.fill_hole_area)

    def _memory(self, object_id: ObjectId, index: int) -> Memory | None:
        tracks = self.session.tracks.get(object_id)
        return tracks[0].bank.on(index) if tracks else None

    def _without_keyframe(self, obj_id: int, index: int) -> KeyframeBank:
        """The bank without a keyframe; the last one is replaced by the earliest other prompt."""
        bank = self.session.banks[self.numbers[obj_id]]
        kept = tuple(k for k in bank.keyframes if k.frame.index != index)
        if kept:
            return replace(bank, keyframes=kept)
        for first, prompt in sorted(self.prompts[obj_id].items()):
            memory = self._memory(self.numbers[obj_id], first)
            if isinstance(prompt, Mask):
                return replace(bank, keyframes=(Keyframe(self.frame(first), prompt.bitmap),))
            if memory is not None:
                frame = self.frame(first)
                mask = self.session.tracker.enlarge([memory.logits], frame)[0] > 0
                return replace(bank, keyframes=(Keyframe(frame, mask.cpu().numpy()),))
        return bank  # all other prompts are so far away that their memories were dropped


def _demoted(bank: MemoryBank, index: int, stays: Memory | None) -> MemoryBank:
    """The bank without a prompted frame; `stays` is its memory as a tracked frame, if any."""
    prompted = tuple(m for m in bank.prompted if m.frame_index != index)
    kept = replace(bank, prompted=prompted)
    return kept if stays is None else kept.remember(stays)
