"""The memory of one object. Immutable, so forking a hypothesis is keeping a reference."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from segment_concept.ops.kalman import KalmanState


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """One object on one past frame."""

    frame_index: int
    features: Tensor  # output of the segmenter's memory encoder for the object on that frame
    pointer: Tensor  # (C,) object pointer
    iou: float  # predicted IoU of the stored mask, in [0, 1]
    presence: float  # presence logit; > 0 means visible
    logits: Tensor  # (h, w) mask logits, used when this frame is corrected
    image: Tensor | None = None  # features of the frame that its objects share
    motion: float | None = None  # IoU of the mask's box with a motion model's prediction
    backwards: bool = False  # whether the video was played backwards on this frame
    corrected: bool = False  # whether it is a prompted frame that had been tracked before

    def age(self, frame_index: int) -> int:
        """Distance in frames, whatever the playback direction."""
        return abs(frame_index - self.frame_index)


@dataclass(frozen=True, slots=True)
class PlaybackPosition:
    """A frame and the direction in which the video is played."""

    frame_index: int
    backwards: bool = False

    def frames_since(self, frame_index: int) -> int:
        """Frames played since `frame_index`; negative for frames that are not played yet."""
        distance = self.frame_index - frame_index
        return -distance if self.backwards else distance


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """The memories that a policy keeps of one object."""

    prompted: tuple[Memory, ...] = ()  # in the order of the prompts
    tracked: tuple[Memory, ...] = ()  # in the order of segmentation

    def remember(self, memory: Memory) -> "MemoryBank":
        """Add a tracked frame, replacing one with the same index."""
        return replace(self, tracked=(*_without(self.tracked, memory.frame_index), memory))

    def prompt(self, memory: Memory) -> "MemoryBank":
        """Add a prompted frame, replacing any memory of that frame."""
        return MemoryBank(
            prompted=(*_without(self.prompted, memory.frame_index), memory),
            tracked=_without(self.tracked, memory.frame_index),
        )

    def on(self, frame_index: int) -> Memory | None:
        """The memory of that frame, or None if it is not kept."""
        both = (*self.prompted, *self.tracked)
        return next((m for m in both if m.frame_index == frame_index), None)


def _without(memories: tuple[Memory, ...], frame_index: int) -> tuple[Memory, ...]:
    return tuple(m for m in memories if m.frame_index != frame_index)


@dataclass(frozen=True, slots=True)
class RecalledMap:
    """A memory map to attend to."""

    slot: int  # index of the learned temporal embedding: 0 = newest, last = prompted
    memory: Memory
    key_scale: float = 1.0  # factor on its keys (SAM2Long's object-aware modulation)
    prompted: bool = False  # whether the frame was prompted


@dataclass(frozen=True, slots=True)
class RecalledPointer:
    """An object pointer to attend to."""

    distance: int  # temporal distance in frames, signed along the playback direction
    memory: Memory
    key_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Recall:
    """The memories that a frame attends to, selected by a policy."""

    maps: tuple[RecalledMap, ...] = ()
    pointers: tuple[RecalledPointer, ...] = ()
    horizon: int = 15  # pointer distances are divided by this before embedding
    presence_threshold: float = 0.0  # presence logit above which the object is visible
    alternatives: bool = False  # the policy chooses among masks by more than predicted IoU
    previous: Memory | None = None  # of one of the last frames, whatever its quality; see `step`


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """State of an object's motion model."""

    kalman: KalmanState  # in pixels of the network's input
    stable_frames: int  # number of consecutive frames with reliable masks


@dataclass(frozen=True, slots=True)
class Track:
    """One hypothesis about one object."""

    bank: MemoryBank = field(default_factory=MemoryBank)
    log_score: float = 0.0  # sum of log predicted IoU along this hypothesis
    motion: Motion | None = None  # None until a policy starts a motion model
    parent: int = 0  # index of the hypothesis on the previous frame that this one extends
