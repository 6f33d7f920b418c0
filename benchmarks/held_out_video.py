"""Real videos that nothing is reported on, as a dataset for `segment-concept cuts` to cut.

    tools/fetch_held_out_video.sh VIDEOS
    python benchmarks/held_out_video.py VIDEOS OUT
    segment-concept cuts OUT CUTS --seed 1 --splits multi --copies 2 --shot-frames 10-18
    python benchmarks/effect.py --cuts CUTS --arms "memory of SeC,its own" [--margin 0]

Whether an object is there is known exactly of clips that are cut from them: it is in its own
sequence and in no other. So it can be chosen by real video how sure a tracker has to be of an
absence, without a look at the video that is reported on. Nobody annotated them: the masks are what
the tracker makes of each uncut sequence from a box, looked at once. So J and F of the cut clips say
how near tracking across the cuts comes to tracking without them.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from held_out import WHO
from held_out_dataset import write_dataset

import segment_concept as sc
from segment_concept.tracking.api import VideoTracker
from segment_concept.types import Bitmap, Frame, Image


@dataclass(frozen=True)
class Sequence:
    """Frames `start`, `start + step`, ... before `stop` of a file, and the object in the first."""

    file: str
    start: int
    stop: int
    step: int
    box: tuple[float, float, float, float]  # in pixels of the frames as they are written
    width: int = 640  # that they are resized to
    left: int = 0  # pixels of the video that are left out, where another sequence's object is


SEQUENCES = {
    "cyclist": Sequence("bikes.mp4", 112, 137, 1, (375, 10, 500, 270)),
    "bicycle": Sequence("bikes.mp4", 188, 242, 1, (305, 5, 550, 200)),
    "woman": Sequence("Megamind.avi", 2, 98, 2, (100, 15, 345, 468)),
    "man": Sequence("Megamind.avi", 99, 154, 1, (90, 5, 640, 780), left=290),
    "bunny": Sequence("bigbuckbunny.mp4", 20, 132, 2, (40, 85, 275, 290)),
    "box": Sequence("box.mp4", 0, 455, 6, (295, 7, 600, 240)),
    "cup": Sequence("cup.mp4", 0, 217, 4, (300, 120, 420, 386)),
    "driver": Sequence("carphone_pristine.mp4", 0, 120, 2, (113, 52, 640, 523)),
    "earth": Sequence("world.mp4", 0, 901, 15, (166, 26, 467, 335)),
    "walker": Sequence("vtest.avi", 0, 34, 1, (250, 217, 285, 311), width=768),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    tracker = sc.load("sec_compact")
    named = (
        (name, followed(tracker, frames_of(options.videos / sequence.file, sequence), sequence.box))
        for name, sequence in SEQUENCES.items()
    )
    write_dataset(options.out, named)


def followed(
    tracker: VideoTracker, frames: Iterable[Frame], box: tuple[float, float, float, float]
) -> Iterator[tuple[Image, Bitmap]]:
    """Every picture with the mask that the tracker makes of the object in the box."""
    session = tracker.session()
    for frame in frames:
        first = frame.index == 0
        result = session.prompt(frame, {WHO: sc.Box(*box)}) if first else session.step(frame)
        yield frame.rgb, result.mask(WHO)


def frames_of(video: Path, sequence: Sequence) -> Iterator[Frame]:
    """What the sequence takes of its video, resized."""
    wanted = islice(sc.open_video(video).frames(), sequence.start, sequence.stop, sequence.step)
    for t, frame in enumerate(wanted):
        rgb = frame.rgb[:, sequence.left :]
        if rgb.shape[1] != sequence.width:
            scale = sequence.width / rgb.shape[1]
            size = (sequence.width, 2 * round(rgb.shape[0] * scale / 2))
            how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
            rgb = cv2.resize(rgb, size, interpolation=how)
        yield Frame(t, np.ascontiguousarray(rgb, dtype=np.uint8))


if __name__ == "__main__":
    main()
