"""Offline mode, as SeC defines it: the video is tracked twice.

The first pass tracks as usual. The second pass starts again with the keyframe banks that the
first one ended with, and queries the concept encoder with these at the trigger's frames.
"""

from segment_concept.tracking.api import TrackingSession, VideoTracker
from segment_concept.types import InputError

_SECOND_PASS = (
    "offline mode tracks the video again with the finalized keyframe bank of the concept encoder, "
    "and this tracker"
)


def check_offline(tracker: VideoTracker) -> None:
    """Refuse a tracker for which a second pass would change nothing.

    Raises:
        InputError: it has no concept encoder, or its trigger never queries it.
    """
    from segment_concept.tracking.tracker import Tracker  # loads torch
    from segment_concept.tracking.triggers.base import Never

    if not isinstance(tracker, Tracker) or tracker.concept is None:
        raise InputError(
            f"{_SECOND_PASS} has no concept encoder: leave --offline out, or use sec_compact or "
            "sec_4b"
        )
    if isinstance(tracker.trigger, Never):
        raise InputError(
            f"{_SECOND_PASS} never queries it: leave --offline out, or give it a trigger"
        )


def second_pass(session: TrackingSession) -> TrackingSession:
    """The session for the second pass: with the keyframe banks of the first, which stay fixed."""
    from segment_concept.tracking.session import Session  # loads torch

    assert isinstance(session, Session), "check_offline refuses other trackers"
    return session.second_pass()
