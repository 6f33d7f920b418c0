"""What a person says of frames that were tracked: this is the object, and this is not.

Both change what a session remembers, and so what it finds from then on.
"""

from collections.abc import Container
from dataclasses import replace

from segment_concept.tracking.concept import Keyframe, KeyframeBank
from segment_concept.tracking.memory import MemoryBank, Track
from segment_concept.tracking.session import Session
from segment_concept.types import Bitmap, Frame, ObjectId


def hold_keyframe(session: Session, object_id: ObjectId, frame: Frame, mask: Bitmap) -> None:
    """Add a keyframe that stays in the object's bank: a person has confirmed it.

    Args:
        session: changed in place.
        object_id: a tracked object; for others nothing happens.
        frame: where the object is.
        mask: (H, W) its pixels; an empty one is not kept.
    """
    bank = session.banks.get(object_id)
    if bank is not None and mask.any():
        session.banks[object_id] = bank.hold(Keyframe(frame, mask))


def forget_frames(session: Session, object_id: ObjectId, frames: Container[int]) -> None:
    """Remove keyframes and memories of frames on which the object is not, as a person has said.

    Memories of prompts stay: a person has given them. So does the bank's last keyframe.

    Args:
        session: changed in place.
        object_id: a tracked object; for others nothing happens.
        frames: indices of the frames.
    """
    if object_id not in session.tracks:
        return
    session.tracks[object_id] = tuple(
        _without(track, frames) for track in session.tracks[object_id]
    )
    bank = session.banks[object_id]
    kept = tuple(k for k in bank.keyframes if k.frame.index not in frames)
    session.banks[object_id] = KeyframeBank(kept or bank.keyframes[:1], bank.at_most, bank.held)


def _without(track: Track, frames: Container[int]) -> Track:
    kept = tuple(m for m in track.bank.tracked if m.frame_index not in frames)
    return replace(track, bank=MemoryBank(track.bank.prompted, kept))
