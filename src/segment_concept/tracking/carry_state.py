"""What a session knows of frames that are carried by optical flow instead of being tracked."""

from dataclasses import dataclass, replace

from segment_concept.tracking.triggers.base import FrameDescriptor
from segment_concept.types import Image

LONGEST = 3  # frames carried in a row; more were not tried

# Frames that are tracked in any case after the neighbors of a single frame did not agree on it: an
# attempt in vain costs half of a frame. Twice as many if they did not agree the time before either,
# twice at most.
HELD, DOUBLINGS = 4, 2
RESTLESS = 3  # the same where the picture moved too much: flow costs a twentieth of a frame


@dataclass(frozen=True, slots=True, eq=False)
class PassedFrame:
    """A frame that was played without being tracked."""

    index: int
    descriptor: FrameDescriptor  # what the trigger keeps of it
    gray: Image  # see `small_gray`


@dataclass(frozen=True, slots=True, eq=False)
class CarryState:
    """Which frames of a session were passed over, and which of the next ones may be. Immutable.

    Attributes:
        passed: the frames after the last tracked one, in playing order.
        left: how many of the next frames are carried with these.
        reach: how many frames in a row will be tried.
        clear: whether two tracked frames agreed clearly the last time.
        held: how many of the next frames are tracked in any case.
        failed: how often in a row two frames did not agree on a single one between; 2 for more.
    """

    passed: tuple[PassedFrame, ...] = ()
    left: int = 0
    reach: int = 1
    clear: bool = False
    held: int = 0
    failed: int = 0

    @property
    def allowed(self) -> int:
        """How many of the next frames may be carried."""
        if self.passed:
            return self.left
        return 0 if self.held else self.reach

    def over(self, frame: PassedFrame) -> "CarryState":
        """After a frame was passed over."""
        return replace(self, passed=(*self.passed, frame))

    def tracked(self) -> "CarryState":
        """After a frame was tracked."""
        return replace(self, passed=(), left=0, held=max(0, self.held - 1))

    def corrected(self) -> "CarryState":
        """After a prompt."""
        return replace(self, passed=(), left=0)

    def restless(self) -> "CarryState":
        """After the picture moved too much."""
        return replace(self, left=0, held=RESTLESS)

    @property
    def next_reach(self) -> int:
        """The reach once tracked frames agree on as many as were tried.

        It does not depend on how clearly they agree, so that the frame that is tracked after the
        next gap is known, and can be encoded, before the frame at the end of this gap is tracked.
        """
        return min(LONGEST, self.reach + 1) if self.clear else self.reach

    def agreed(self, count: int, *, clearly: bool) -> "CarryState":
        """After two tracked frames agreed on `count` frames between."""
        reach = self.next_reach if count == self.reach else self.reach
        return replace(self, reach=reach, clear=clearly, failed=0)

    def leaving(self, left: int) -> "CarryState":
        """With other frames to carry."""
        return replace(self, left=left)

    def disagreed(self, count: int) -> "CarryState":
        """After two tracked frames did not agree on `count` frames between."""
        single = replace(self, left=0, reach=1, clear=False)
        if count > 1:
            return single
        failed = min(self.failed + 1, DOUBLINGS)
        return replace(single, held=HELD << self.failed, failed=failed)
