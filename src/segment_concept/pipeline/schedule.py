"""Which frames are played, in which direction, and where objects are shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from segment_concept.pipeline.prompts import TimedPrompt
from segment_concept.types import InputError, ObjectId, Prompt, check_prompts
from segment_concept.video.source import VideoSource, read_frame
from segment_concept.video.timecode import index_of


class Direction(Enum):
    """Where to look for the objects, seen from the frames on which they are shown."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Pass:
    """The video played once: from `start` to its end, or back to its first frame."""

    start: int
    backwards: bool
    prompting: bool  # are objects shown on the way, or were they before?


@dataclass(frozen=True, slots=True)
class Position:
    """The frame that comes next, in which pass."""

    number: int
    frame: int


@dataclass(frozen=True, slots=True)
class PlaybackSchedule:
    """What will be played. With both directions a second pass fills in what the first left out:
    for every object the frames before the one on which it was first shown."""

    prompts_at: Mapping[int, Mapping[ObjectId, Prompt]]  # prompts by frame
    passes: tuple[Pass, ...]
    initial_prompts: tuple[
        tuple[int, Mapping[ObjectId, Prompt]], ...
    ] = ()  # shown before it is played

    def first_shown(self, object_id: ObjectId) -> int:
        """The earliest frame on which the object is shown."""
        return min(index for index, prompts in self.prompts_at.items() if object_id in prompts)

    def new_objects(
        self, number: int, index: int, object_ids: Iterable[ObjectId]
    ) -> list[ObjectId]:
        """Of the objects seen on a frame in a pass, those whose masks are new."""
        if number == 0:
            return list(object_ids)
        return [i for i in object_ids if index < self.first_shown(i)]

    @property
    def seams(self) -> frozenset[Position]:
        """Where a video's part must end, because a later pass writes what is before anew."""
        return frozenset(Position(0, p.start) for p in self.passes[1:])

    def is_past(self, here: Position, there: Position) -> bool:
        """Does `here` come after `there`, or is it the same?"""
        if here.number != there.number:
            return here.number > there.number
        if self.passes[here.number].backwards:
            return here.frame <= there.frame
        return here.frame >= there.frame

    def frames(self, length: int | None) -> int | None:
        """How many frames are played in a video of this length."""
        if length is None:
            return None
        return sum(p.start + 1 if p.backwards else max(0, length - p.start) for p in self.passes)


def make_schedule(
    source: VideoSource, shown: Sequence[TimedPrompt], direction: Direction
) -> PlaybackSchedule:
    """Find the prompted frames and check every prompt against its own, before anything is written.

    Raises:
        InputError: nothing is shown; an object twice on a frame; a frame that does not exist or
            is damaged; a prompt that does not fit it; a live source shown later or backwards.
    """
    if not shown:
        raise InputError("nothing to follow: show the object by a mask, a box or a point")
    prompts_at: dict[int, dict[ObjectId, Prompt]] = {}
    for one in shown:
        index = index_of(source, one.at)
        prompts = prompts_at.setdefault(index, {})
        if one.object_id in prompts:
            raise InputError(
                f"object {one.object_id} is shown twice on frame {index}: "
                "give its points and box together, or number the objects apart"
            )
        prompts[one.object_id] = one.prompt
    if source.info.live:
        if direction is Direction.BACKWARD or list(prompts_at) != [0]:
            raise InputError(f"{source.name} is live: show objects on frame 0, and play it forward")
    else:
        for index in sorted(prompts_at):
            try:
                check_prompts(read_frame(source, index), prompts_at[index])
            except InputError as error:
                raise InputError(f"{error}{source.info.coordinates}") from error
    return PlaybackSchedule(prompts_at, _passes(prompts_at, direction, live=source.info.live))


def _passes(
    prompts_at: Mapping[int, Mapping[ObjectId, Prompt]], direction: Direction, *, live: bool
) -> tuple[Pass, ...]:
    if direction is Direction.BACKWARD:
        return (Pass(max(prompts_at), backwards=True, prompting=True),)
    forward = Pass(min(prompts_at), backwards=False, prompting=True)
    plan = PlaybackSchedule(prompts_at, (forward,))
    # The pass begins on a prompted frame, so that the next one is compared with that.
    last_first = max(plan.first_shown(i) for prompts in prompts_at.values() for i in prompts)
    if direction is Direction.FORWARD or live or last_first == 0:
        return (forward,)
    return forward, Pass(last_first, backwards=True, prompting=False)
