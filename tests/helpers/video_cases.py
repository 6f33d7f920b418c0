"""Videos as odd as those that people have, made with PyAV: repeated times, matrices, streams."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from helpers.video_toys import HEIGHT, WIDTH, picture


def write_times(
    path: Path, times: Sequence[int], base: Fraction = Fraction(1, 1000), **options: str
) -> Path:
    """A video whose frames are shown at these times, in units of `base`; repetitions are kept."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "8", "g": "6", "bf": "0"} | options
        packets = []
        for index in range(len(times)):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet, at in zip(packets, times, strict=True):
            packet.time_base, packet.pts, packet.dts = base, at, at
            out.mux(packet)
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The same MP4 file with another display matrix in its track header (version 0)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def with_aspect(path: Path, aspect: Fraction) -> Path:
    """A video with pixels of this aspect."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for index in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        out.mux(stream.encode(None))
    return path


def write_streams(path: Path, sizes: Sequence[tuple[int, int]], default: int | None) -> Path:
    """Several video streams of these sizes (H, W), one of which is the default."""
    flags = av.stream.Disposition
    with av.open(str(path), "w") as out:
        made: list[Any] = []
        for number, (height, width) in enumerate(sizes):
            stream: Any = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            if default is not None:
                chosen = flags.default if number == default else flags(0)
                stream.disposition = chosen.value  # PyAV 15 takes numbers only
            made.append(stream)
        for _ in range(4):
            for stream in made:
                gray = np.full((stream.height, stream.width, 3), 90, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        for stream in made:
            out.mux(stream.encode(None))
    return path


def write_sound(
    path: Path,
    layouts: Sequence[str] = ("mono",),
    codec: str = "aac",
    silent: Sequence[int] = (),
    frames: int = 24,
) -> Path:
    """A video with a tone a layout; those in `silent` are silence."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sounds: list[Any] = []
        for layout in layouts:
            sound: Any = out.add_stream(codec, rate=48000)
            sound.layout = layout
            sounds.append(sound)
        for index in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        out.mux(stream.encode(None))
        for number, sound in enumerate(sounds):
            _tone(out, sound, 0 if number in silent else 12000, frames * 1920)
    return path


def _tone(out: Any, sound: Any, loud: int, samples: int) -> None:
    count = sound.layout.nb_channels
    wave = (np.sin(np.arange(samples) / 17) * loud).astype(np.int16)
    data = np.repeat(wave[:, None], count, axis=1).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(data, format="s16", layout=sound.layout.name)
    frame.sample_rate, frame.pts = 48000, 0
    size = sound.codec_context.frame_size or 1024
    resampler = av.AudioResampler(sound.format, sound.layout.name, 48000, frame_size=size)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        out.mux(sound.encode(piece))
    out.mux(sound.encode(None))
