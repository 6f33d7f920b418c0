"""Small videos with a moving square, and a tracker that follows a color.

The square is drawn so large and so plain that compression does not hide where it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from segment_concept.runtime.background import read_ahead
from segment_concept.tracking.api import NO_FRAME_PROMPTS, NO_PROMPTS, FramePrompts, Prompts
from segment_concept.tracking.results import merge_results
from segment_concept.types import (
    Bitmap,
    Box,
    Frame,
    FrameResult,
    InputError,
    Mask,
    ObjectId,
    Prompt,
    check_prompt,
)

HEIGHT, WIDTH, SIDE = 64, 96, 16
RED, GREEN = (220, 30, 30), (30, 220, 30)
NEAR = 90.0  # a pixel is an object's if its color is nearer than this (RGB, Euclidean)


def square_at(index: int) -> tuple[int, int]:
    """(x, y) of the red square's corner: it goes to the right, and begins again on the left."""
    return (4 + 2 * index) % (WIDTH - SIDE), 12


def truth(index: int) -> Bitmap:
    """(H, W) where the red square is."""
    x, y = square_at(index)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y : y + SIDE, x : x + SIDE] = True
    return mask


def picture(index: int) -> NDArray[np.uint8]:
    """A red square that moves to the right, a green one at rest, on gray that brightens."""
    rgb = np.full((HEIGHT, WIDTH, 3), 60 + index % 40, np.uint8)
    rgb[44:60, 70:86] = GREEN
    rgb[truth(index)] = RED
    return rgb


@dataclass(frozen=True)
class Film:
    """How to encode a video of those pictures."""

    codec: str = "libx264"
    frames: int = 20
    pts: tuple[int, ...] | None = None  # in ticks of 1/1000 s; 25 frames a second where left out
    gop: int = 6
    b_frames: int | None = None
    pixels: str = "yuv420p"
    turned: int = 0  # degrees in the display matrix
    sound: str | None = None  # codec
    in_file_order: bool = False  # packets bear times by their place in the file, not the frames'
    options: Mapping[str, str] = field(default_factory=dict)


def write_film(path: Path, film: Film = Film(), pictures: Any = picture) -> Path:
    """Encode a video file; the container follows from the suffix."""
    pts = film.pts or tuple(40 * i for i in range(film.frames))
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(film.codec, rate=25)
        height, width = pictures(0).shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, film.pixels
        stream.options = dict(film.options)
        context = stream.codec_context
        context.gop_size = film.gop
        if film.pts is not None:
            context.time_base = Fraction(1, 1000)
        if film.b_frames is not None:
            context.max_b_frames = film.b_frames
        if film.turned:
            stream.set_display_rotation(film.turned)
        sound: Any = out.add_stream(film.sound, rate=48000) if film.sound else None
        if sound is not None:
            sound.layout = "mono"
        packets: list[Any] = []
        for index, at in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(pictures(index), format="rgb24")
            frame.pts = at if film.pts is not None else index
            frame.time_base = Fraction(1, 1000) if film.pts is not None else Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for place, packet in enumerate(packets):
            if film.in_file_order:
                packet.pts = packet.dts = round(place / 25 / packet.time_base)
            out.mux(packet)
        if sound is not None:
            _add_tone(out, sound, seconds=(pts[-1] + 40) / 1000)
    return path


def _add_tone(out: Any, stream: Any, seconds: float) -> None:
    size = stream.codec_context.frame_size or 1024
    wave = (np.sin(np.arange(int(seconds * 48000)) / 17) * 8000).astype(np.int16)
    resampler = av.AudioResampler(stream.format, "mono", 48000, frame_size=size)
    for start in range(0, len(wave), size):
        piece = av.AudioFrame.from_ndarray(wave[None, start : start + size], "s16", "mono")
        piece.sample_rate, piece.pts = 48000, start
        for ready in resampler.resample(piece):
            out.mux(stream.encode(ready))
    for ready in resampler.resample(None):
        out.mux(stream.encode(ready))
    out.mux(stream.encode(None))


def write_folder(path: Path, names: Iterable[str], pictures: Any = picture) -> Path:
    """The pictures as images of these names, in this order."""
    path.mkdir(parents=True)
    for index, name in enumerate(names):
        encoded = cv2.imencode(Path(name).suffix.lower(), pictures(index)[..., ::-1])[1]
        (path / name).write_bytes(encoded.tobytes())
    return path


def damaged(source: Path, target: Path, frames: set[int]) -> Path:
    """A copy of a video in which the packets shown as these frames hold rubbish."""
    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        stream = given.streams.video[0]
        made = out.add_stream_from_template(stream)
        times = sorted(p.pts for p in _packets(source))
        for packet in given.demux(stream):
            if packet.dts is None:
                continue
            data = bytes(packet)
            if packet.pts in {times[i] for i in frames}:
                data = data[:5] + b"\xff" * (len(data) - 5)
            copy = av.Packet(data)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
            copy.stream = made
            out.mux(copy)
    return target


def _packets(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [p for p in container.demux(video=0) if p.pts is not None]


def presentation_times(path: Path) -> list[Fraction]:
    """Seconds of every frame of a video."""
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


@dataclass(slots=True, eq=False)
class ColorSession:
    """Follows colors. What it knows of an object changes with every frame, so that a run which
    was not resumed exactly gives other scores."""

    tracker: "ColorTracker"
    colors: dict[ObjectId, torch.Tensor] = field(default_factory=dict)
    shown: dict[ObjectId, dict[int, torch.Tensor]] = field(default_factory=dict)
    steps: int = 0

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        return tuple(self.colors)

    def prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        for object_id, prompt in prompts.items():
            check_prompt(prompt, frame)
            inside = frame.rgb[_pixels(prompt, frame)].astype(np.float32)
            self.colors[object_id] = torch.from_numpy(np.median(inside, axis=0))
        return self._see(frame, tuple(prompts))

    def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
        if not self.colors:
            if not prompts:
                raise InputError("nothing to track: prompt an object first")
            return self.prompt(frame, prompts)
        tracked = self._tracked(frame)
        return merge_results(tracked, self.prompt(frame, prompts)) if prompts else tracked

    def _tracked(self, frame: Frame) -> FrameResult:
        self.tracker.stepped.append(frame.index)
        self.steps += 1
        result = self._see(frame, self.object_ids)
        for row, object_id in enumerate(self.object_ids):
            mask = result.mask(object_id)
            if mask.any():
                seen = torch.from_numpy(frame.rgb[mask].astype(np.float32).mean(axis=0))
                self.colors[object_id] = 0.9 * self.colors[object_id] + 0.1 * seen
            result.presence[row] = float(mask.any()) * (1 - 1 / (2 + self.steps))
        return replace(result, concept_queried=self.steps % 5 == 0)

    def track(
        self, frames: Iterable[Frame], prompts: Prompts = NO_PROMPTS, *, prefetch: int = 0
    ) -> Iterator[FrameResult]:
        if not prefetch:
            for frame in frames:
                yield self.step(frame, prompts.get(frame.index, {}))
            return
        with closing(read_ahead(frames, prefetch)) as read:
            yield from self.track(read, prompts)

    def remove(self, object_id: ObjectId) -> None:
        del self.colors[object_id]

    def _see(self, frame: Frame, ids: tuple[ObjectId, ...]) -> FrameResult:
        pixels = torch.from_numpy(frame.rgb.astype(np.float32))
        far = torch.stack([(pixels - self.colors[i]).norm(dim=2) for i in ids])
        logits = (NEAR - far) / 8
        inside = (logits > 0).flatten(1)
        quality = torch.where(inside, logits.flatten(1), 0).sum(1) / inside.sum(1).clamp(min=1)
        return FrameResult(
            frame_index=frame.index,
            object_ids=ids,
            logits=logits,
            presence=inside.any(1).float(),
            quality=quality / 12,
            seconds=frame.seconds,
        )


def _pixels(prompt: Prompt, frame: Frame) -> Bitmap:
    if isinstance(prompt, Mask):
        return prompt.bitmap
    mask = np.zeros(frame.size, np.bool_)
    box = prompt if isinstance(prompt, Box) else prompt.box
    if box is not None:
        mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    elif not isinstance(prompt, Box):
        on = next(xy for xy, inside in zip(prompt.xy, prompt.foreground, strict=True) if inside)
        mask[int(on[1]), int(on[0])] = True
    return mask


@dataclass
class ColorTracker:
    """Notes which frames it is asked to step on."""

    stepped: list[int] = field(default_factory=list)

    def session(self) -> ColorSession:
        return ColorSession(self)


class Forgetful(ColorTracker):
    """Its sessions hold something that cannot be stored."""

    def session(self) -> ColorSession:
        session = ColorSession(self)
        session.shown = iter(())  # type: ignore[assignment]
        return session


def overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max(1, (a | b).sum()))
