"""Offline mode in Python: `for result in track_offline(source, prompts, tracker): ...`."""

from collections.abc import Iterator

from segment_concept.pipeline.playback import Playback
from segment_concept.pipeline.schedule import Pass, PlaybackSchedule, Position
from segment_concept.tracking.api import Prompts, VideoTracker
from segment_concept.tracking.offline import check_offline
from segment_concept.types import FrameResult, InputError
from segment_concept.video.source import VideoSource


def track_offline(
    source: VideoSource, prompts: Prompts, tracker: VideoTracker
) -> Iterator[FrameResult]:
    """Track a video twice, the second time with the finalized keyframe banks (SeC's offline mode).

    Args:
        source: the video; it is played twice.
        prompts: by frame index, then by object.
        tracker: needs a concept encoder and a trigger that queries it.

    Yields:
        The results of the second pass, from the first prompted frame on, once the first is done.

    Raises:
        InputError: the source is live, there is no prompt, the tracker has no concept encoder,
            or as `TrackingSession.step`.
    """
    check_offline(tracker)
    if source.info.live:
        raise InputError(
            f"{source.name} is a live source, and offline mode plays the video twice: record it "
            "first, or use a session"
        )
    if not prompts:
        raise InputError("nothing to track: give a mask, a box or a point as a prompt")
    plan = PlaybackSchedule(prompts, (Pass(min(prompts), backwards=False),)).with_second_pass()
    playback = Playback(source, plan, tracker.session(), Position(0, min(prompts)))
    for played in playback.play():
        if played.part.written:
            yield played.result
