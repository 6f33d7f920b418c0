"""Tiny data sets in the layout of SA-V's training split."""

import json
from pathlib import Path

import av
import numpy as np

from segment_concept.ops.rle import encode_rle


def write_movie(path: Path, rgb: np.ndarray, **options: str) -> None:
    """An H.264 file at 24 frames a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"crf": "12", "g": "16", **options})
        stream.width, stream.height, stream.pix_fmt = rgb.shape[2], rgb.shape[1], "yuv420p"
        for picture in rgb:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def moving_square(frames: int, size=(48, 64), objects=2) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W, 3) and masks (T, O, H, W) of squares that move; object 1 vanishes later."""
    height, width = size
    rng = np.random.default_rng(frames)
    ground = rng.integers(40, 90, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    rgb = np.repeat(ground[None], frames, 0).astype(np.uint8)
    masks = np.zeros((frames, objects, height, width), bool)
    for t in range(frames):
        for o in range(objects):
            if o == 1 and t > frames * 2 // 3:
                continue
            y = 4 + 20 * o
            x = int(4 + (width - 24) * (t % 48) / 48)
            rgb[t, y : y + 16, x : x + 16] = (200, 60 + 120 * o, 40)
            masks[t, :o, y : y + 16, x : x + 16] = False
            masks[t, o, y : y + 16, x : x + 16] = True
    return rgb, masks


def annotation(name: str, masks: np.ndarray) -> dict:
    """The content of the JSON file beside a video."""
    frames, objects, height, width = masks.shape
    rows = [
        [{"size": [height, width], "counts": encode_rle(mask)} for mask in masks[t]]
        for t in range(0, frames, 4)
    ]
    return {
        "video_id": name,
        "video_frame_count": float(frames),
        "video_height": float(height),
        "video_width": float(width),
        "masklet": rows,
        "masklet_id": list(range(objects)),
    }


def write_video(folder: Path, name: str, frames: int, size=(48, 64), objects=2) -> None:
    """A video with its annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb, masks = moving_square(frames, size, objects)
    write_movie(folder / f"{name}.mp4", rgb)
    path = folder / f"{name}_manual.json"
    path.write_text(json.dumps(annotation(name, masks)), encoding="utf-8")
