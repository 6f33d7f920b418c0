"""Archives for the servers: what is in them, and what is refused."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from helpers import benchmark_toys as toys
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.types import Benchmark, Dataset, Source
from segment_concept.evaluate.predict import predict_video, video_job
from segment_concept.evaluate.submission import write_submission
from segment_concept.ops.png import gray_png, palette_png
from segment_concept.types import InputError

CLIPS = (toys.Clip("aa11", ((1, 2),) * 3), toys.Clip("bb22", ((1,), (1,), (1, 2))))


def mose(root: Path) -> Dataset:
    """A public split of MOSE v1: of the masks there is only the first."""
    for clip in CLIPS:
        toys.save(root / f"valid/Annotations/{clip.name}/00000.png", toys.labels(0, clip.ids[0]))
        for i in range(3):
            toys.save(root / f"valid/JPEGImages/{clip.name}/{i:05d}.png", toys.picture(i, clip))
    return open_dataset(Benchmark.MOSE, Source(root))


def youtube(root: Path) -> Dataset:
    """A public split of YouTube-VOS: each object's first mask."""
    mose(root)
    toys.save(root / "valid/Annotations/bb22/00002.png", toys.labels(2, (2,)))
    videos = {
        clip.name: {
            "objects": {
                str(o): {"category": "dog", "frames": [f"{i:05d}" for i in range(start, 3)]}
                for o, start in ((1, 0), (2, 0 if clip.name == "aa11" else 2))
            }
        }
        for clip in CLIPS
    }
    (root / "valid/meta.json").write_text(json.dumps({"videos": videos}))
    return open_dataset(Benchmark.YOUTUBE_VOS_2019, Source(root))


def predicted(dataset: Dataset, masks: Path) -> Path:
    for video in dataset.videos:
        (masks / video.name).mkdir(parents=True)
        predict_video(toys.color(), video_job(dataset, video), masks / video.name)
    return masks


@pytest.mark.parametrize(("make", "top"), [(mose, ""), (youtube, "Annotations/")])
def test_an_archive_has_a_palette_mask_for_every_picture(
    make: type, top: str, tmp_path: Path
) -> None:
    dataset = make(tmp_path / "set")
    masks = predicted(dataset, tmp_path / "masks")
    write_submission(dataset, masks, tmp_path / "out/first.zip")
    write_submission(dataset, masks, tmp_path / "second.zip")
    with zipfile.ZipFile(tmp_path / "second.zip") as archive:
        expected = [f"{top}{clip.name}/{i:05d}.png" for clip in CLIPS for i in range(3)]
        assert archive.namelist() == expected
        page = archive.read(expected[0])
    assert page == (masks / "aa11/00000.png").read_bytes()
    assert (tmp_path / "out/first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda m: shutil.rmtree(m / "aa11"), "video aa11 has no predictions"),
        (lambda m: (m / "bb22/00001.png").unlink(), "video bb22 has no masks for 00001"),
        (
            lambda m: (m / "aa11/00001.png").write_bytes(palette_png(np.zeros((3, 4), np.uint8))),
            "is 4x3, but the video is 32x24",
        ),
        (
            lambda m: (m / "aa11/00001.png").write_bytes(gray_png(np.zeros(toys.SIZE, np.uint8))),
            "has mode L, but the server needs palette PNG files",
        ),
        (
            lambda m: (m / "aa11/00001.png").write_bytes(
                palette_png(np.full(toys.SIZE, 7, np.uint8))
            ),
            "has unknown ids: 7",
        ),
        (lambda m: (m / "aa11/00001.png").write_bytes(b"x"), "00001.png cannot be read"),
    ],
)
def test_a_submission_that_the_server_would_refuse_is_refused(
    spoil: object, said: str, tmp_path: Path
) -> None:
    dataset = mose(tmp_path / "set")
    masks = predicted(dataset, tmp_path / "masks")
    assert callable(spoil)
    spoil(masks)
    with pytest.raises(InputError, match=said):
        write_submission(dataset, masks, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_benchmarks_without_such_a_server_are_refused(tmp_path: Path) -> None:
    dataset = open_dataset(Benchmark.DAVIS2017, Source(toys.davis(tmp_path, toys.CLIPS[:1])))
    with pytest.raises(InputError, match="davis2017 has no evaluation server for archives"):
        write_submission(dataset, tmp_path, tmp_path / "out.zip")
