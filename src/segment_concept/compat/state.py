"""What a script carries from call to call: a video, the objects, and their session."""

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
class Unforgetting:
    """Recalls and chooses as another policy, but forgets nothing.

    So that, as with SAM 2, any frame of the video can be corrected at any time.
    """

    policy: MemoryPolicy

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        """As the other."""
        return self.policy.recall(bank, position)

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """As the other."""
        return self.policy.choose(tracks, candidates)

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        """The bank as it is."""
        return bank


@dataclass(slots=True, eq=False)
class InferenceState(DictLike):
    """Made by `VideoPredictor.init_state`; reads like SAM 2's dictionary.

    Scripts number objects as they like, from 0 for the most part. A session counts from 1, since
    0 stands for the background in a label map.

    Attributes:
        source: the video.
        session: what follows the objects.
        image_size: pixels of the square that the network reads.
        device: where it computes.
        obj_ids: the objects in the order of the rows of every answer, those without a prompt
            included.
        prompts: for each object its prompts, by frame.
        numbers: the session's number for each object.
        absent: for each object the frames on which an empty mask was given.
        pending: for each object and frame that was prompted after the last propagation, what was
            known of that frame before.
        released: what was tracked of objects whose last prompt was taken back; they begin anew
            with their next one.
        last: the frame used last; its features are known.
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
        """How many frames the video has; they are counted where its container does not say."""
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
        """The frames as the network reads them, each when it is asked for."""
        return Images(self.source, self.num_frames, self.image_size, self.device)

    @property
    def storage_device(self) -> torch.device:
        """Where memories are kept."""
        return self.device

    @property
    def obj_id_to_idx(self) -> dict[int, int]:
        """The row of each object in every answer."""
        return {obj_id: row for row, obj_id in enumerate(self.obj_ids)}

    @property
    def obj_idx_to_id(self) -> dict[int, int]:
        """The object of each row."""
        return dict(enumerate(self.obj_ids))

    def frame(self, index: int) -> Frame:
        """A frame of the video. Raises InputError where there is none."""
        if index < 0:
            raise InputError(f"there is no frame {index}: frames count from 0")
        if self.last is None or self.last.index != index:
            self.last = read_frame(self.source, index)
        return self.last

    def seen(self, frame: Frame) -> Frame:
        """The frame, or the same one that was read before."""
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
        """Note that an object is not on a frame; a prompt that it had there is taken back.

        Raises:
            InputError: there is no such frame.
        """
        self.frame(index)
        self._note(obj_id, self.numbers.get(obj_id, len(self.numbers) + 1))
        self.withdraw(obj_id, index)
        self.absent.setdefault(obj_id, set()).add(index)

    def remove(self, obj_id: int) -> None:
        """Forget an object; prompted again, it has its number back."""
        self.obj_ids.remove(obj_id)
        for kept in (self.prompts, self.absent, self.released):
            kept.pop(obj_id, None)
        self.pending = {key: m for key, m in self.pending.items() if key[0] != obj_id}
        if self.numbers[obj_id] in self.session.tracks:
            self.session.remove(self.numbers[obj_id])

    def reset(self) -> None:
        """Forget all objects."""
        self.session = self.session.tracker.session()
        for kept in (self.prompts, self.numbers, self.absent, self.pending, self.released):
            kept.clear()
        self.obj_ids.clear()

    def masks(self, index: int, *, propagated: bool = False) -> Tensor:
        """(O, 1, H, W) logits of every object on a frame; -1024 where it has none.

        With `propagated`, objects that have no prompt left have none.
        """
        known: dict[int, Tensor] = {}
        for row, obj_id in enumerate(self.obj_ids):
            memory = self._memory(self.numbers[obj_id], index)
            if memory is None and not propagated and obj_id in self.released:
                memory = self.released[obj_id].on(index)
            if memory is not None and index not in self.absent.get(obj_id, ()):
                known[row] = self._filled(memory.logits)
        size, non_overlapping = self.source.info.size, self.session.tracker.non_overlapping
        logits = upsample_logits(list(known.values()), size, non_overlapping=non_overlapping)
        whole = torch.full((len(self.obj_ids), *size), NO_OBJECT_LOGIT, device=logits.device)
        whole[list(known)] = logits
        return whole[:, None]

    def first_prompted(self) -> int:
        """The earliest frame on which an object was prompted.

        Raises:
            InputError: none was.
        """
        frames = [index for shown in self.prompts.values() for index in shown]
        frames += [index for absent in self.absent.values() for index in absent]
        if not frames:
            raise InputError("nothing to track: add points, a box or a mask first")
        return min(frames)

    def withdraw(self, obj_id: int, index: int) -> None:
        """Take back the prompt of an object on a frame.

        As in SAM 2: a prompt since the last propagation is as if it had not been given. An older
        one stays in the object's memory as a frame that was tracked.
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
        """A bank is never empty: the earliest prompt that is left takes the place of the last."""
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
                mask = upsample_logits([memory.logits], frame.size, non_overlapping=False)[0] > 0
                return replace(bank, keyframes=(Keyframe(frame, mask.cpu().numpy()),))
        return bank  # all other prompts are so far away that their memories were dropped


def _demoted(bank: MemoryBank, index: int, stays: Memory | None) -> MemoryBank:
    """A bank without a prompted frame; `stays` is what is remembered of it as a tracked one."""
    prompted = tuple(m for m in bank.prompted if m.frame_index != index)
    kept = replace(bank, prompted=prompted)
    return kept if stays is None else kept.remember(stays)
