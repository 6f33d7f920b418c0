"""Track the frames of a schedule. Nothing is written."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from segment_concept.pipeline.schedule import Pass, PlaybackSchedule, Position
from segment_concept.runtime.background import read_ahead
from segment_concept.tracking.api import NO_PROMPTS, Prompts, TrackingSession
from segment_concept.tracking.offline import second_pass
from segment_concept.types import Frame, FrameResult
from segment_concept.video.source import VideoSource

PREFETCH = 2  # frames that are read and encoded in advance


@dataclass(frozen=True, slots=True, eq=False)
class PlayedFrame:
    """A tracked frame and its position in the schedule."""

    frame: Frame
    result: FrameResult
    part: Pass
    position: Position


class Playback:
    """A video being played by a schedule, from any position.

    Attributes:
        session: the tracking session, after the last frame.
        position: the next frame to play.
        count: number of frames played.
    """

    def __init__(
        self,
        source: VideoSource,
        plan: PlaybackSchedule,
        session: TrackingSession,
        position: Position,
    ) -> None:
        self.session, self.position, self.count = session, position, 0
        self._source, self._plan = source, plan

    def play(self) -> Generator[PlayedFrame, None, None]:
        """The frames from `position` to the end of the last pass.

        Raises:
            InputError: the session refuses a frame or a prompt.
        """
        for number, part in enumerate(self._plan.passes):
            if number < self.position.number:
                continue
            if number > self.position.number:
                self.position = Position(number, part.start)
                if number > 0 and number == self._plan.first_written:
                    self.session = second_pass(self.session)
            with closing(self._pass(part)) as pairs:
                for frame, result in pairs:
                    position = Position(number, frame.index)
                    self.count += 1
                    self.position = replace(
                        position, frame=frame.index + (-1 if part.backwards else 1)
                    )
                    yield PlayedFrame(frame, result, part, position)

    def progress(self) -> tuple[int, int | None]:
        """Number of frames played, and of all passes if known."""
        length = self._source.info.frames
        return self._plan.played(self.position, length), self._plan.frames(length)

    def _pass(self, part: Pass) -> Generator[tuple[Frame, FrameResult], None, None]:
        start = self.position.frame
        frames = self._source.backwards(start) if part.backwards else self._source.frames(start)
        prompts = NO_PROMPTS if part.fills else self._plan.prompts_at
        return play(self.session, frames, prompts, live=self._source.info.live)


def play(
    session: TrackingSession, frames: Iterable[Frame], prompts: Prompts, *, live: bool = False
) -> Generator[tuple[Frame, FrameResult], None, None]:
    """Track frames with prefetching. Closing the generator stops the reading thread.

    Args:
        session: the tracking session.
        frames: read in another thread.
        prompts: by frame index.
        live: prefetch nothing, and drop frames that arrive while one is tracked.

    Yields:
        Every frame with its result.
    """
    waiting: deque[Frame] = deque()

    def queued(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            waiting.append(frame)
            yield frame

    reader = read_ahead(frames, PREFETCH, newest_only=True) if live else None
    prefetch = 0 if live else PREFETCH
    results = session.track(queued(reader or frames), prompts, prefetch=prefetch)
    try:
        for result in results:
            yield waiting.popleft(), result
    finally:
        for each in (results, reader):
            if isinstance(each, Generator):
                each.close()
