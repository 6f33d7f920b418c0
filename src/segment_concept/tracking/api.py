"""What the rest of the package may see of a tracker."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias

from segment_concept.types import Frame, FrameResult, ObjectId, Prompt

FramePrompts: TypeAlias = Mapping[ObjectId, Prompt]
"""The prompts on one frame, by object."""

Prompts: TypeAlias = Mapping[int, FramePrompts]
"""The prompts of a video, by frame index."""

Every: TypeAlias = Literal["auto", 1]
"""Which frames are tracked: every one, or those that cannot be carried by optical flow."""

NO_FRAME_PROMPTS: FramePrompts = MappingProxyType({})
NO_PROMPTS: Prompts = MappingProxyType({})


class TrackingSession(Protocol):
    """One video being tracked. Nothing in it grows with the number of frames.

    One test suite holds every tracker to this contract: several objects, objects added late and
    removed, frames of any size; two sessions share nothing.
    """

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        """The tracked objects, in the order in which they were prompted."""
        ...

    def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
        """Segment all objects in the next frame: the one call that tracking needs.

        Args:
            frame: the next frame.
            prompts: new objects on this frame, or corrections of tracked ones. Tracked objects
                are segmented first, then the prompts are applied.

        Returns:
            The tracked objects, followed by the prompted ones.

        Raises:
            InputError: there is no object yet and no prompt, the frame is of another size than
                those before it, or a prompt does not fit the frame.
        """
        ...

    def prompt(self, frame: Frame, prompts: FramePrompts) -> FrameResult:
        """Add objects on the current frame, or correct them there.

        Returns:
            The prompted objects only.

        Raises:
            InputError: a prompt does not fit the frame, or an object id is below 1.
        """
        ...

    def track(
        self, frames: Iterable[Frame], prompts: Prompts = NO_PROMPTS, *, prefetch: int = 0
    ) -> Iterator[FrameResult]:
        """`step` for every frame, in order.

        Args:
            frames: the video, or a part of it.
            prompts: by frame index, as for `step`.
            prefetch: how many frames may be read and encoded in another thread before they are
                tracked; two frames give the full speed. Do not use it for live sources, and do not
                read `frames` elsewhere meanwhile. A tracker that carries frames by optical flow
                does so only with prefetching; otherwise results do not depend on it.

        Raises:
            InputError: as `step`.
        """
        ...

    def remove(self, object_id: ObjectId) -> None:
        """Stop tracking an object. Raises KeyError if it is not tracked."""
        ...


class VideoTracker(Protocol):
    """A tracking method with its weights. Several sessions can share it."""

    def session(self) -> TrackingSession:
        """Start a new video."""
        ...
