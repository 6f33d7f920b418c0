"""Tiny copies of the published dataset layouts."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segment_concept.ops.rle import encode_rle

SIZE = (12, 16)  # (H, W)


def labels(*ids: int) -> NDArray[np.uint8]:
    """A label map with a 2x2 square for every id."""
    found = np.zeros(SIZE, np.uint8)
    for i, object_id in enumerate(ids):
        found[1:3, 1 + 3 * i : 3 + 3 * i] = object_id
    return found


def save_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask, "L").convert("P")
    image.putdata(mask.ravel().tolist())
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    image.save(path)


def save_pictures(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", (SIZE[1], SIZE[0]), (10 * i % 255, 90, 60)).save(folder / f"{name}.jpg")


def save_masks(folder: Path, masks: dict[str, Sequence[int]]) -> None:
    """Label maps by frame name."""
    for name, ids in masks.items():
        save_mask(folder / f"{name}.png", labels(*ids))


def numbered(count: int, step: int = 1, start: int = 0, digits: int = 5) -> list[str]:
    return [f"{start + step * i:0{digits}d}" for i in range(count)]


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def davis2016(root: Path) -> Path:
    names = numbered(4)
    for name in names:
        save_mask(root / f"Annotations/480p/bear/{name}.png", labels(255))
    save_pictures(root / "JPEGImages/480p/bear", names)
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/val.txt").write_text("bear\n")
    return root


def davis2017(root: Path) -> Path:
    names = numbered(5)
    visible = [(1, 2), (1,), (1, 2), (1, 2, 255), (1,)]  # 2 vanishes and comes back
    masks = dict(zip(names, visible, strict=True))
    save_masks(root / "Annotations/480p/dogs", masks)
    save_pictures(root / "JPEGImages/480p/dogs", names)
    save_masks(root / "Annotations/480p/trained-on", masks)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("dogs\n\n")
    (root / "ImageSets/2017/train.txt").write_text("trained-on\n")
    return root


def davis2017_unsupervised(root: Path) -> Path:
    names = numbered(4)
    save_masks(root / "Annotations_unsupervised/480p/dogs", {n: (1, 255) for n in names})
    save_pictures(root / "JPEGImages/480p/dogs", names)
    (root / "ImageSets/2019").mkdir(parents=True)
    (root / "ImageSets/2019/val.txt").write_text("dogs\n")
    return root


def youtube_vos(root: Path) -> Path:
    names = numbered(4, step=5)
    objects = {
        "1": {"category": "dog", "frames": names},
        "2": {"category": "spider", "frames": names[2:]},
    }
    write_json(root / "valid/meta.json", {"videos": {"0a": {"objects": objects}}})
    save_masks(root / "valid/Annotations/0a", {names[0]: (1,), names[2]: (1, 2)})
    save_pictures(root / "valid/JPEGImages/0a", names)
    trained = {"1": {"category": "dog", "frames": names}}
    write_json(root / "train/meta.json", {"videos": {"1b": {"objects": trained}}})
    save_masks(root / "train/Annotations/1b", {name: (1,) for name in names})
    save_pictures(root / "train/JPEGImages/1b", names)
    return root


def mose1(root: Path) -> Path:
    names = numbered(4)
    save_masks(root / "train/Annotations/ab12", {name: (1, 3) for name in names})
    save_pictures(root / "train/JPEGImages/ab12", names)
    save_masks(root / "valid/Annotations/cd34", {names[0]: (1,)})
    save_pictures(root / "valid/JPEGImages/cd34", names)
    return root


def mose2(root: Path) -> Path:
    names = numbered(4)
    save_masks(root / "valid/Annotations/ab12", {name: (1,) for name in names})
    save_pictures(root / "valid/JPEGImages/ab12", names)
    entry = {"length": 4, "height": SIZE[0], "width": SIZE[1], "objects": ["1"]}
    write_json(root / "valid/meta.json", {"videos": {"ab12": entry}})
    return root


def lvos(root: Path) -> Path:
    names = numbered(5, step=5, start=1, digits=8)
    videos = {}
    for video in ("seenvid1", "newvideo"):
        save_masks(root / f"valid/Annotations/{video}", {name: (1,) for name in names})
        save_pictures(root / f"valid/JPEGImages/{video}", names)
        span = {"start": names[0], "end": names[-1], "frame_nums": str(len(names))}
        videos[video] = {"objects": {"1": {"frame_range": span}}}
    write_json(root / "valid/valid_meta.json", {"videos": videos})
    (root / "valid/unseen_videos.txt").write_text("newvideo\n")
    return root


def sav(root: Path) -> Path:
    for name in numbered(3, step=4):
        save_mask(root / f"Annotations_6fps/sav_1/000/{name}.png", labels(1))
        save_mask(root / f"Annotations_6fps/sav_1/001/{name}.png", labels(1))
    save_pictures(root / "JPEGImages_24fps/sav_1", numbered(9))
    (root / "sav_val.txt").write_text("sav_1\n")
    return root


def sav_train_json(root: Path) -> Path:
    """Only the JSON of a training video; its column 1 is empty in the first row."""

    def entry(mask: NDArray[np.uint8]) -> dict[str, object]:
        return {"size": list(SIZE), "counts": encode_rle(mask > 0)}

    rows = [[entry(labels(1)), entry(labels())], [entry(labels(1)), entry(labels(0, 1))]]
    write_json(root / "sav_000/sav_9_manual.json", {"masklet_id": [4, 7], "masklet": rows})
    return root


def secvos(root: Path) -> Path:
    names = numbered(6)
    for name in names:
        save_mask(root / f"Annotations/street/000/{name}.png", labels(1))
    save_pictures(root / "JPEGImages/street", names)
    (root / "video_id.txt").write_text("street\n")
    scenes = {"first_segment": [0, 2], "second_segment": ["3", "5"], "remain_segments": []}
    write_json(root / "scene_info.json", {"street": scenes})
    return root


def folder(root: Path) -> Path:
    save_masks(root / "clip", {name: (1,) for name in numbered(4)})
    return root
