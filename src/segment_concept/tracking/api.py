"""What the rest of the package may see of a tracker."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from segment_concept.types import Frame, FrameResult, ObjectId, Prompt


class TrackingSession(Protocol):
    """One video being tracked. Nothing in it grows with the number of frames.

    Contract, held by one test suite over every tracker: several objects, objects added late and
    removed, frames of any size; two sessions share nothing.
    """

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        """The objects that are followed, in the order in which they were shown."""
        ...

    def prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        """Show objects, or correct them. The result holds the prompted objects.

        Raises:
            InputError: a prompt does not fit the frame, or an object's number is below 1.
        """
        ...

    def step(self, frame: Frame) -> FrameResult:
        """Segment every object that was shown before in the next frame.

        Raises:
            InputError: no object was shown, or the frame is of another size.
        """
        ...

    def track(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """`step` over frames as they come."""
        ...

    def remove(self, object_id: ObjectId) -> None:
        """Forget an object. Raises KeyError if it is not followed."""
        ...


class VideoTracker(Protocol):
    """How to track, with the weights to do it: share one between sessions."""

    def session(self) -> TrackingSession:
        """A new video."""
        ...
