"""A small annotated dataset: a square in a color of its own slides over gray."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers.dataset_builders import save_mask
from segment_concept.datasets.open import open_dataset, recognize_dataset
from segment_concept.datasets.types import Dataset, Source

SIZE = (48, 80)  # (H, W)
RED, GREEN, BLUE, PINK = (220, 20, 20), (20, 220, 20), (20, 20, 220), (220, 60, 60)
COLORS = {"red-car": RED, "pink-car": PINK, "green-dog": GREEN, "blue-dog": BLUE}


def square(index: int, top: int = 16) -> NDArray[np.bool_]:
    """(H, W): 16 pixels wide, sliding to the right."""
    mask = np.zeros(SIZE, np.bool_)
    left = 4 + index % 50
    mask[top : top + 16, left : left + 16] = True
    return mask


def save_sequence(
    root: Path,
    name: str,
    squares: Sequence[tuple[tuple[int, int, int], int]],
    frames: int = 30,
    hidden: range = range(0),
) -> None:
    """Squares of (color, top); ids from 1. On the `hidden` frames there is none."""
    folder = root / "JPEGImages" / name
    folder.mkdir(parents=True)
    for i in range(frames):
        rgb = np.full((*SIZE, 3), 120, np.uint8)
        labels = np.zeros(SIZE, np.uint8)
        for object_id, (color, top) in enumerate(squares, start=1):
            if i not in hidden:
                rgb[square(i, top)] = color
                labels[square(i, top)] = object_id
        Image.fromarray(rgb).save(folder / f"{i:05d}.jpg", quality=95, subsampling=0)
        save_mask(root / "Annotations" / name / f"{i:05d}.png", labels)


def four_sequences(root: Path, frames: int = 30) -> Dataset:
    for name, color in COLORS.items():
        save_sequence(root, name, [(color, 16)], frames)
    return opened(root)


def opened(root: Path) -> Dataset:
    return open_dataset(recognize_dataset(root), Source(root))


def picture_and_labels(
    out: Path, clip: str, index: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rgb = np.asarray(Image.open(out / f"JPEGImages/{clip}/{index:05d}.jpg"))
    return rgb, np.asarray(Image.open(out / f"Annotations/{clip}/{index:05d}.png"))


def is_colored(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): everything that is not gray, whatever a camera made of the colors."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1] > 110, np.bool_)
