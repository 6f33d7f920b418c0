"""The playback schedule: passes over a video, their directions, and the prompts by frame."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.tracking.api import Prompts
from segment_concept.types import InputError, ObjectId, Prompt, check_prompts
from segment_concept.video.image_folder import ImageFolder
from segment_concept.video.source import VideoSource, read_frame
from segment_concept.video.timecode import TimePoint, index_of

log = logging.getLogger(__name__)


class Direction(Enum):
    """Which way to track from the prompted frames."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Pass:
    """The video played once: from `start` to its end, or backwards to its first frame.

    Attributes:
        start: index of the first frame.
        backwards: the playing direction.
        fills: whether only frames are written that an earlier pass left out: for every object the
            frames before its first prompt. Such a pass applies no prompts.
        written: whether the results are written. False for the first of two passes of offline
            mode, which only collects keyframes.
    """

    start: int
    backwards: bool
    fills: bool = False
    written: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """The next frame to play: the number of its pass, and its index."""

    number: int
    frame: int


@dataclass(frozen=True, slots=True)
class PlaybackSchedule:
    """Prompts by frame index, and the passes in order."""

    prompts_at: Prompts
    passes: tuple[Pass, ...]

    def with_second_pass(self) -> "PlaybackSchedule":
        """The schedule of offline mode: all passes without writing, then all passes again."""
        first = tuple(replace(each, written=False) for each in self.passes)
        return replace(self, passes=first + self.passes)

    @property
    def first_written(self) -> int:
        """The number of the first pass whose results are written."""
        return next(number for number, each in enumerate(self.passes) if each.written)

    def first_prompted(self, object_id: ObjectId) -> int:
        """The earliest frame on which the object is prompted."""
        return min(index for index, on_frame in self.prompts_at.items() if object_id in on_frame)

    def new_objects(self, part: Pass, index: int, object_ids: Iterable[ObjectId]) -> list[ObjectId]:
        """The objects on a frame of a pass whose masks no earlier pass has written."""
        if not part.written:
            return []
        if not part.fills:
            return list(object_ids)
        return [i for i in object_ids if index < self.first_prompted(i)]

    @property
    def seams(self) -> frozenset[Position]:
        """Frames at which a part of a video file must end; a later pass rewrites the others."""
        return frozenset(
            Position(self.first_written, each.start)
            for each in self.passes
            if each.fills and each.written
        )

    def is_past(self, position: Position, reference: Position) -> bool:
        """Whether `position` is equal to `reference` or after it."""
        if position.number != reference.number:
            return position.number > reference.number
        if self.passes[position.number].backwards:
            return position.frame <= reference.frame
        return position.frame >= reference.frame

    def played(self, position: Position, length: int | None) -> int:
        """Number of frames played before `position`; too low if the video's length is unknown."""
        part = self.passes[position.number]
        earlier = self.passes[: position.number]
        return sum(_frames(each, length) or 0 for each in earlier) + abs(
            position.frame - part.start
        )

    def frames(self, length: int | None) -> int | None:
        """Number of frames in all passes, for a video of this length; None if it is unknown."""
        counts = [_frames(each, length) for each in self.passes]
        return None if None in counts else sum(count for count in counts if count is not None)


def _frames(part: Pass, length: int | None) -> int | None:
    if part.backwards:
        return part.start + 1
    return None if length is None else max(0, length - part.start)


def make_schedule(
    source: VideoSource, prompts: Sequence[TimedPrompt], direction: Direction
) -> PlaybackSchedule:
    """Find the prompted frames and check every prompt against its frame.

    Raises:
        InputError: there is no prompt; an object has two on one frame; a frame does not exist or
            is damaged; a prompt does not fit its frame; a live source has a prompt on a later
            frame, or is to be played backwards.
    """
    if not prompts:
        raise InputError("nothing to track: give a mask, a box or a point as a prompt")
    prompts_at: dict[int, dict[ObjectId, Prompt]] = {}
    for prompt in prompts:
        index = index_of(source, prompt.at)
        _check_named(source, prompt.at)
        on_frame = prompts_at.setdefault(index, {})
        if prompt.object_id in on_frame:
            raise InputError(
                f"object {prompt.object_id} has two prompts on frame {index}: "
                "combine its points and box in one prompt, or use different object ids"
            )
        on_frame[prompt.object_id] = prompt.prompt
    if source.info.live:
        if direction is Direction.BACKWARD or list(prompts_at) != [0]:
            raise InputError(
                f"{source.name} is a live source: prompts must be on frame 0 and the direction "
                "must be forward"
            )
    else:
        for index in sorted(prompts_at):
            try:
                check_prompts(read_frame(source, index), prompts_at[index])
            except InputError as error:
                raise InputError(f"{error}{source.info.coordinates}") from error
    return PlaybackSchedule(prompts_at, _passes(prompts_at, direction, live=source.info.live))


def _check_named(source: VideoSource, at: TimePoint) -> None:
    """Warn if `at` is also the number of another image: sequences often begin at 1001.

    Raises:
        InputError: there is no such frame, but an image with this number.
    """
    if not isinstance(source, ImageFolder) or not isinstance(at, int):
        return
    numbered, count = source.index_named(at), source.info.frames or 0
    if numbered is None or numbered == at:
        return
    if at >= count:
        raise InputError(
            f"there is no frame {at} in {source.name}, which has {count}: frames count from 0, "
            f"and the image {source.frame_name(numbered)} is frame {numbered} (--at {numbered})"
        )
    log.warning(
        "frame %d of %s is the image %s: frames count from 0, and the image %s is frame %d",
        *(at, source.name, source.frame_name(at), source.frame_name(numbered), numbered),
    )


def _passes(
    prompts_at: Mapping[int, Mapping[ObjectId, Prompt]], direction: Direction, *, live: bool
) -> tuple[Pass, ...]:
    if direction is Direction.BACKWARD:
        return (Pass(max(prompts_at), backwards=True),)
    forward = Pass(min(prompts_at), backwards=False)
    plan = PlaybackSchedule(prompts_at, (forward,))
    # Start on a prompted frame, because triggers compare the next frame with it.
    last_first = max(plan.first_prompted(i) for on_frame in prompts_at.values() for i in on_frame)
    if direction is Direction.FORWARD or live or last_first == 0:
        return (forward,)
    return forward, Pass(last_first, backwards=True, fills=True)
