"""Track the frames of a video with a session: read, encoded ahead, and carried where it is calm."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from segment_concept.runtime.parallel import core_pool, pool_in_use
from segment_concept.tracking.api import Every, Prompts
from segment_concept.tracking.carrying import CarriedTracking
from segment_concept.tracking.frame_queue import FrameQueue
from segment_concept.tracking.out_of_memory import unchanged_without_memory
from segment_concept.tracking.prefetch import encode_ahead
from segment_concept.types import Frame, FrameResult

if TYPE_CHECKING:  # which imports this module
    from segment_concept.tracking.session import Session

PREFETCH_ON_GPU = 2  # frames


def track_frames(
    session: "Session",
    frames: Iterable[Frame],
    prompts: Prompts,
    *,
    prefetch: int | None,
    backwards: bool | None,
    every: Every | None,
) -> Iterator[FrameResult]:
    """What `Session.track` does; its arguments are described there."""
    tracker = session.tracker
    if prefetch is None:
        prefetch = PREFETCH_ON_GPU if tracker.device.type == "cuda" else 0
    if every is None:
        every = tracker.every if prefetch else 1
    if prefetch == 0 and every == 1:
        for frame in frames:
            yield session.step(frame, prompts.get(frame.index, {}), backwards=backwards)
        return
    with ExitStack() as stack:
        pool = None
        if prefetch and tracker.share_cores:
            pool = stack.enter_context(core_pool())
        # for the frames that are encoded ahead; `Session.step` answers for its own
        stack.enter_context(unchanged_without_memory(session, None))
        how = _every_frame if every == 1 else _some_frames
        results = stack.enter_context(closing(how(session, frames, prompts, prefetch, backwards)))
        while True:
            with pool_in_use(pool):
                result = next(results, None)
            if result is None:
                return
            yield result


def _every_frame(
    session: "Session",
    frames: Iterable[Frame],
    prompts: Prompts,
    prefetch: int,
    backwards: bool | None,
) -> Generator[FrameResult, None, None]:
    # cached features may be of another stream
    on_gpu = session.tracker.device.type == "cuda" and session.features is None
    device = session.tracker.device if on_gpu else None
    with closing(encode_ahead(session.encode, frames, prefetch, device)) as encoded:
        for frame, features in encoded:
            yield session.step(
                frame, prompts.get(frame.index, {}), features=features, backwards=backwards
            )


def _some_frames(
    session: "Session",
    frames: Iterable[Frame],
    prompts: Prompts,
    prefetch: int,
    backwards: bool | None,
) -> Generator[FrameResult, None, None]:
    describe = session.tracker.trigger.describe
    with FrameQueue(frames, session.encode, describe, prefetch) as queue:
        yield from CarriedTracking(session, queue, prompts, backwards).results()
