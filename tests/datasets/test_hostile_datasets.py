"""Files of a dataset that somebody else wrote: refused with a sentence, and never obeyed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import dataset_builders as build
from segment_concept.datasets.folders import missing_numbers, read_names
from segment_concept.datasets.masklets import masklet_layers
from segment_concept.datasets.masks import read_labels
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.types import Benchmark, Source
from segment_concept.ops.rle import decode_rle
from segment_concept.runtime.json_files import parse_json, read_json
from segment_concept.runtime.names import checked_name, is_number
from segment_concept.types import InputError

DEEP = "[" * 100_000
HUGE_NUMBERS = ["1e999", "-1e999", "NaN", "Infinity", "9" * 5000]


def opened(benchmark: Benchmark, root: Path) -> Any:
    return open_dataset(benchmark, Source(root, "valid" if "valid" in os.listdir(root) else "val"))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc/x", "a/b", "a\\b", "C:x", "x\0", "x\n", "\x1b[2J", "n" * 300],
)
def test_a_name_that_would_leave_its_folder_or_rule_the_terminal_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a folder") as refused:
        checked_name(name, "list.txt")
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("name", ["bear", "dogs-jump", "sav_000", "größe", "a b", "1.mp4"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert checked_name(name, "list.txt") == name


@pytest.mark.parametrize("name", ["../outside", "/outside"])
@pytest.mark.parametrize(
    ("benchmark", "make", "listing"),
    [
        (Benchmark.DAVIS2017, build.davis2017, "ImageSets/2017/val.txt"),
        (Benchmark.SA_V, build.sav, "sav_val.txt"),
        (Benchmark.SECVOS, build.secvos, "video_id.txt"),
    ],
)
def test_a_list_cannot_name_a_video_outside_of_the_dataset(
    benchmark: Benchmark,
    make: Callable[[Path], Path],
    listing: str,
    name: str,
    tmp_path: Path,
) -> None:
    root = make(tmp_path / "data")
    build.save_masks(tmp_path / "outside", {"00000": (1,)})
    (root / listing).write_text(name.replace("/outside", str(tmp_path / "outside"), 1))
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        open_dataset(benchmark, Source(root))


@pytest.mark.parametrize(
    ("benchmark", "make", "meta"),
    [
        (Benchmark.YOUTUBE_VOS_2019, build.youtube_vos, "valid/meta.json"),
        (Benchmark.MOSE2, build.mose2, "valid/meta.json"),
        (Benchmark.LVOS1, build.lvos, "valid/valid_meta.json"),
    ],
)
@pytest.mark.parametrize("name", ["../../outside", "/outside", ".."])
def test_metadata_cannot_name_a_video_outside_of_the_dataset(
    benchmark: Benchmark, make: Callable[[Path], Path], meta: str, name: str, tmp_path: Path
) -> None:
    root = make(tmp_path / "data")
    content = json.loads((root / meta).read_text())
    content["videos"][name] = next(iter(content["videos"].values()))
    (root / meta).write_text(json.dumps(content))
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        open_dataset(benchmark, Source(root, "valid"))


@pytest.mark.parametrize("damage", [DEEP, "5", '"x"', "[]", "{", *HUGE_NUMBERS])
@pytest.mark.parametrize(
    ("benchmark", "make", "path"),
    [
        (Benchmark.YOUTUBE_VOS_2019, build.youtube_vos, "valid/meta.json"),
        (Benchmark.MOSE2, build.mose2, "valid/meta.json"),
        (Benchmark.LVOS1, build.lvos, "valid/valid_meta.json"),
        (Benchmark.SECVOS, build.secvos, "scene_info.json"),
    ],
)
def test_damaged_metadata_is_refused_by_name(
    benchmark: Benchmark, make: Callable[[Path], Path], path: str, damage: str, tmp_path: Path
) -> None:
    root = make(tmp_path / "data")
    (root / path).write_text(damage)
    with pytest.raises(InputError, match=Path(path).stem):
        open_dataset(benchmark, Source(root, "valid"))


@pytest.mark.parametrize(
    "entry", [5, None, [], {"frames": 5}, {"frames": None}, {"frames": {"a": 1}}]
)
def test_an_object_described_by_something_else_is_refused(entry: object, tmp_path: Path) -> None:
    root = build.youtube_vos(tmp_path / "data")
    path = root / "valid/meta.json"
    content = json.loads(path.read_text())
    next(iter(content["videos"].values()))["objects"]["1"] = entry
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected"):
        open_dataset(Benchmark.YOUTUBE_VOS_2019, Source(root, "valid"))


@pytest.mark.parametrize("end", [10**12 + 1, -4])
def test_a_frame_range_is_not_counted_out_before_it_is_plausible(end: int, tmp_path: Path) -> None:
    root = build.lvos(tmp_path / "data")
    path = root / "valid/valid_meta.json"
    content = json.loads(path.read_text())
    span = content["videos"]["newvideo"]["objects"]["1"]["frame_range"]
    span |= {"end": end, "frame_nums": (end - 1) // 5 + 1}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="frame_range goes from"):
        open_dataset(Benchmark.LVOS1, Source(root, "valid"))


@pytest.mark.parametrize("scenes", [5, {"first_segment": [0, 1, 2]}, {"first_segment": 7}])
def test_scenes_that_are_no_pairs_are_refused(scenes: object, tmp_path: Path) -> None:
    root = build.secvos(tmp_path / "data")
    (root / "scene_info.json").write_text(json.dumps({"street": scenes}))
    with pytest.raises(InputError, match="scene_info"):
        open_dataset(Benchmark.SECVOS, Source(root))


@pytest.mark.parametrize(
    "content", [DEEP, '{"masklet": 5}', '{"masklet": [5]}', '{"masklet": [], "masklet_id": 5}']
)
def test_a_damaged_masklet_file_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "sav_1_manual.json"
    path.write_text(content)
    with pytest.raises(InputError, match="sav_1_manual"):
        masklet_layers(path)


@pytest.mark.parametrize("size", [(2 * 10**9, 2), (10**6, 10**6), (-4, -4)])
def test_a_run_length_mask_of_an_impossible_size_is_refused_at_once(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="not possible"):
        decode_rle("04", size)


def test_numbers_far_apart_are_no_sequence_with_a_gap() -> None:
    assert missing_numbers(["0", "999999999999999999"]) == []
    assert missing_numbers(["00001", "00002", "00004"]) == ["00003"]


@pytest.mark.parametrize("text", ["²", "٣", "-1", "1.5", "", "9" * 30])
def test_only_plain_digits_are_numbers(text: str) -> None:
    assert not is_number(text)


def test_a_superscript_in_a_frame_name_is_no_number() -> None:
    assert missing_numbers(["1", "²"]) == []


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_device_is_not_read_to_its_end(tmp_path: Path) -> None:
    link = tmp_path / "00000.png"
    link.symlink_to("/dev/zero")
    for read in (read_labels, read_json, read_names):
        with pytest.raises(InputError, match="device or a pipe"):
            read(link)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "meta.json")
    with pytest.raises(InputError, match="device or a pipe"):
        read_json(tmp_path / "meta.json")


def test_a_mask_whose_header_claims_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "00000.png"
    build.save_mask(path, build.labels(1))
    data = bytearray(path.read_bytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2  # width and height of the header
    path.write_bytes(data)
    with pytest.raises(InputError, match="30000x30000"):
        read_labels(path)


@pytest.mark.parametrize("text", [DEEP, *HUGE_NUMBERS, "", "{'a': 1}", '{"a":', "\ud800"])
def test_json_that_cannot_be_used_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"prompts\.json"):
        parse_json(text, "prompts.json")
