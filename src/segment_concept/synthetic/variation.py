"""Differences between the frames of a finished clip.

Neighboring frames of generated clips resemble each other more than those of real video do: what is
drawn is one image under smooth maps. Here every frame is warped a little by a map of its own,
lit and focused differently, and the clip is compressed as a video.
"""

import io
from dataclasses import dataclass, replace

import av
import cv2
import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.clip import Clip
from segment_concept.synthetic.optics import smear
from segment_concept.synthetic.pixels import (
    Field,
    Image,
    as_image,
    chance,
    log_uniform,
    smooth_noise,
    uniform,
)

_RATE = 25  # frames per second of the compressed clip


@dataclass(frozen=True, slots=True)
class Variation:
    """Strengths of the differences in one clip."""

    warp: float  # typical displacement of the map of one frame, as a share of the frame's height
    cells: int  # bumps of that map along a side of the frame
    light: float  # standard deviation of the local exposure, of its logarithm
    gain: float  # step of the random walk of the exposure of a frame, of its logarithm
    defocus: float  # largest sigma of a frame's blur, pixels
    shake: float  # longest motion blur of the whole frame, pixels
    rate_factor: int  # CRF of H.264; 0: not compressed


def draw_variation(rng: Generator) -> Variation:
    """Random strengths; every kind of difference is absent from some of the clips."""
    return Variation(
        warp=log_uniform(rng, 0.002, 0.012) if chance(rng, 0.8) else 0.0,
        cells=int(rng.integers(4, 15)),
        light=uniform(rng, 0.03, 0.2) if chance(rng, 0.7) else 0.0,
        gain=uniform(rng, 0.01, 0.12) if chance(rng, 0.5) else 0.0,
        defocus=uniform(rng, 0.5, 2.0) if chance(rng, 0.4) else 0.0,
        shake=uniform(rng, 2, 10) if chance(rng, 0.3) else 0.0,
        rate_factor=int(rng.integers(22, 39)) if chance(rng, 0.7) else 0,
    )


def vary_frames(clip: Clip, rng: Generator) -> Clip:
    """The clip with differences between its frames; labels follow the warps.

    A warp can push an object of frame 0 below the clip's least area by a few pixels.
    """
    variation = draw_variation(rng)
    rgb, labels = clip.rgb.copy(), clip.labels.copy()
    exposure = 0.0
    for t in range(len(rgb)):
        exposure += float(rng.normal(0, variation.gain)) if t else 0.0
        frame, label = rgb[t], labels[t]
        if variation.warp > 0:
            frame, label = _warped(frame, label, variation, rng)
        rgb[t], labels[t] = _exposed(frame, variation, exposure, rng), label
    if variation.rate_factor:
        rgb = _compressed(rgb, variation.rate_factor)
    return replace(clip, rgb=rgb, labels=labels)


def _warped(
    frame: Image, label: Image, variation: Variation, rng: Generator
) -> tuple[Image, Image]:
    height, width = label.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    size = variation.warp * height
    x += size * smooth_noise(rng, height, width, variation.cells)
    y += size * smooth_noise(rng, height, width, variation.cells)
    rgb = cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    moved = cv2.remap(label, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return as_image(rgb), as_image(moved)


def _exposed(frame: Image, variation: Variation, exposure: float, rng: Generator) -> Image:
    height, width = frame.shape[:2]
    if variation.light or exposure:
        local: Field = np.float32(exposure) + np.float32(variation.light) * smooth_noise(
            rng, 40, 64, int(rng.integers(3, 9))
        )
        gain = as_image((np.exp(local) * 100).clip(0, 255))
        wide = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
        frame = as_image(cv2.multiply(frame, cv2.cvtColor(wide, cv2.COLOR_GRAY2RGB), scale=0.01))
    if variation.defocus and chance(rng, 0.6):
        frame = as_image(cv2.GaussianBlur(frame, (0, 0), uniform(rng, 0.3, variation.defocus)))
    if variation.shake and chance(rng, 0.5):
        frame = smear(frame, *(float(v) for v in rng.normal(0, variation.shake / 2, 2)))
    return frame


def _compressed(rgb: Image, rate_factor: int) -> Image:
    """(T, H, W, 3) through H.264; sides must be even."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE)
        stream.height, stream.width = rgb.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(rate_factor), "preset": "veryfast", "threads": "1"}
        for frame in rgb:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as written:
        frames = [frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)]
    return as_image(np.stack(frames))
