"""What one object remembers. Immutable, so a hypothesis is forked by keeping a reference."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from segment_concept.ops.kalman import KalmanState


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """One object on one past frame."""

    frame_index: int
    features: Tensor  # what the segmenter's memory encoder made of the object on that frame
    pointer: Tensor  # (C,) object pointer
    iou: float  # predicted quality of the stored mask, score
    presence: float  # logit; > 0 means visible
    logits: Tensor  # (h, w) the mask itself, carried into a correction of this frame
    image: Tensor | None = None  # what belongs to the picture alone, shared by its objects
    motion: float | None = None  # how well the mask met a motion model's forecast, score
    backwards: bool = False  # was the video played backwards when this frame was tracked?
    corrected: bool = False  # is it a prompted frame that had been tracked before?

    def age(self, frame_index: int) -> int:
        """Frames between the two, whichever way the video is being played."""
        return abs(frame_index - self.frame_index)


@dataclass(frozen=True, slots=True)
class PlaybackPosition:
    """Where a recall is made: a frame and the direction in which the video is played."""

    frame_index: int
    backwards: bool = False

    def since(self, frame_index: int) -> int:
        """Frames played since `frame_index`; negative for frames that are still to come."""
        gone = self.frame_index - frame_index
        return -gone if self.backwards else gone


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """The prompted and the tracked frames that a policy keeps of one object."""

    prompted: tuple[Memory, ...] = ()  # in the order in which they were prompted
    tracked: tuple[Memory, ...] = ()  # in the order in which they were segmented

    def remember(self, memory: Memory) -> "MemoryBank":
        """Add a tracked frame; one with the same index is replaced."""
        return replace(self, tracked=(*_without(self.tracked, memory.frame_index), memory))

    def prompt(self, memory: Memory) -> "MemoryBank":
        """Add a prompted frame; whatever was known of that frame is replaced."""
        return MemoryBank(
            prompted=(*_without(self.prompted, memory.frame_index), memory),
            tracked=_without(self.tracked, memory.frame_index),
        )

    def on(self, frame_index: int) -> Memory | None:
        """The memory of exactly that frame, if it is still kept."""
        both = (*self.prompted, *self.tracked)
        return next((m for m in both if m.frame_index == frame_index), None)


def _without(memories: tuple[Memory, ...], frame_index: int) -> tuple[Memory, ...]:
    return tuple(m for m in memories if m.frame_index != frame_index)


@dataclass(frozen=True, slots=True)
class RecalledMap:
    """A memory map to attend to."""

    slot: int  # which learned temporal embedding: 0 = newest, last = prompted
    memory: Memory
    key_scale: float = 1.0  # factor on its keys (SAM2Long's object-aware modulation)
    prompted: bool = False  # is it a frame that was shown, not one that was tracked?


@dataclass(frozen=True, slots=True)
class RecalledPointer:
    """An object pointer to attend to."""

    distance: int  # how far back the policy counts it to be; signed along the playing direction
    memory: Memory
    key_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Recall:
    """The memories a frame will attend to. A policy's answer; the network only reads it."""

    maps: tuple[RecalledMap, ...] = ()
    pointers: tuple[RecalledPointer, ...] = ()
    horizon: int = 15  # pointer distances are divided by this before they are embedded
    presence_threshold: float = 0.0  # presence logit above which the object counts as visible


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How an object moves, as a policy with a motion model sees it."""

    belief: KalmanState  # in pixels of the network's input
    stable_frames: int  # for so many frames the model was fed with masks that could be trusted


@dataclass(frozen=True, slots=True)
class Track:
    """One hypothesis about one object."""

    bank: MemoryBank = field(default_factory=MemoryBank)
    log_score: float = 0.0  # sum of log predicted IoU along this hypothesis
    motion: Motion | None = None  # None until a policy begins to follow it
    parent: int = 0  # which of the hypotheses on the frame before this one grew from
