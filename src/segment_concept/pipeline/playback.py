"""Play a video to a tracking session: frames -> results. Nothing is written."""

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

PREFETCH = 2  # frames that are read and encoded before they are tracked


@dataclass(frozen=True, slots=True, eq=False)
class PlayedFrame:
    """A frame that was tracked, and where in the schedule it was played."""

    frame: Frame
    result: FrameResult
    part: Pass
    position: Position


class Playback:
    """A video being played by a schedule, from any position on.

    Attributes:
        session: the tracking session, as the last frame left it.
        position: the next frame to play.
        count: how many frames were played.
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
                    here = Position(number, frame.index)
                    self.count += 1
                    self.position = replace(here, frame=frame.index + (-1 if part.backwards else 1))
                    yield PlayedFrame(frame, result, part, here)

    def progress(self) -> tuple[int, int | None]:
        """Frames that were played, and how many there are in all passes."""
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
        session: tracks them.
        frames: read in another thread.
        prompts: by frame index.
        live: nothing is prefetched, and frames that come too fast are dropped.

    Yields:
        Every frame with its result.
    """
    waiting: deque[Frame] = deque()

    def noted(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            waiting.append(frame)
            yield frame

    reader = read_ahead(frames, PREFETCH, newest_only=True) if live else None
    prefetch = 0 if live else PREFETCH
    results = session.track(noted(reader or frames), prompts, prefetch=prefetch)
    try:
        for result in results:
            yield waiting.popleft(), result
    finally:
        for each in (results, reader):
            if isinstance(each, Generator):
                each.close()
