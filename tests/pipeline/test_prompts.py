"""Showing objects: boxes, points, mask images and prompts files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment_concept.ops.color import PALETTE
from segment_concept.ops.rle import encode_rle, runs_of
from segment_concept.pipeline.mask_images import read_mask, read_masks
from segment_concept.pipeline.prompts import (
    TimedPrompt,
    parse_box,
    parse_point,
    read_prompts,
)
from segment_concept.types import Box, InputError, Mask, ObjectId, Points
from segment_concept.video.timecode import Seconds, Timecode, parse_at

ONE, TWO, FIVE = ObjectId(1), ObjectId(2), ObjectId(5)
IDS = np.zeros((6, 8), np.uint8)
IDS[1:3, 1:3], IDS[4:, 5:] = 2, 5


def palette_image(path: Path, labels: np.ndarray = IDS) -> Path:
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    image.save(path)
    return path


def gray_image(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("12", 12),
        (" 0 ", 0),
        ("1.5s", Seconds(1.5)),
        ("0s", Seconds(0.0)),
        ("1.5", Seconds(1.5)),
        (".5", Seconds(0.5)),
        ("2.s", Seconds(2.0)),
        ("01:30", Seconds(90.0)),
        ("1:02:03.5", Seconds(3723.5)),
        ("00:00:01:12", Timecode("00:00:01:12")),
    ],
)
def test_a_place_is_a_frame_or_a_moment(text: str, at: object) -> None:
    assert parse_at(text) == at


@pytest.mark.parametrize(
    "text", ["", "s", ".", "one", "-2s", "nans", "1e3", "\u00b2", "9" * 5000, "1:2:3:4", "00:61:00"]
)
def test_another_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected"):
        parse_at(text)


def test_a_box_and_a_point_are_numbers_between_commas() -> None:
    assert parse_box("1,2.5,30,40") == Box(1, 2.5, 30, 40)
    assert parse_point("-1,20") == (-1, 20)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1 2 3 4", "1,2,nan,4"])
def test_a_box_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected x0,y0,x1,y1"):
        parse_box(text)


def test_a_palette_image_shows_its_objects(tmp_path: Path) -> None:
    masks = read_masks(palette_image(tmp_path / "m.png"))
    assert list(masks) == [2, 5]
    assert (masks[TWO].bitmap == (IDS == 2)).all()


def test_a_gray_image_of_few_values_shows_its_objects(tmp_path: Path) -> None:
    assert list(read_masks(gray_image(tmp_path / "m.png", IDS))) == [2, 5]


def test_white_on_black_is_one_object_whatever_its_edges(tmp_path: Path) -> None:
    soft = np.where(IDS == 5, 255, np.where(IDS == 2, 100, 0)).astype(np.uint8)
    masks = read_masks(gray_image(tmp_path / "m.png", soft))
    assert list(masks) == [1]
    assert (masks[ONE].bitmap == (IDS == 5)).all()


def test_a_blurred_mask_that_is_not_quite_white_is_one_object(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 250, 2, dtype=np.uint8), (4, 1))
    assert list(read_masks(gray_image(tmp_path / "m.png", ramp))) == [1]


def test_void_pixels_of_davis_are_background(tmp_path: Path) -> None:
    labels = IDS.copy()
    labels[0] = 255
    assert list(read_masks(palette_image(tmp_path / "m.png", labels))) == [2, 5]


def test_a_palette_image_of_one_object_may_call_it_255(tmp_path: Path) -> None:
    labels = np.where(IDS > 0, 255, 0).astype(np.uint8)
    masks = read_masks(palette_image(tmp_path / "m.png", labels))
    assert list(masks) == [1]
    assert (masks[ONE].bitmap == (IDS > 0)).all()


def test_the_object_is_the_opaque_part_of_a_transparent_image(tmp_path: Path) -> None:
    rgba = np.full((6, 8, 4), 200, np.uint8)
    rgba[..., 3] = np.where(IDS > 0, 255, 0)
    masks = read_masks(gray_image(tmp_path / "m.png", rgba))
    assert (masks[ONE].bitmap == (IDS > 0)).all()


def test_black_and_white_and_sixteen_bits_are_read(tmp_path: Path) -> None:
    Image.fromarray(IDS > 0).save(tmp_path / "one.png")
    assert (read_masks(tmp_path / "one.png")[ONE].bitmap == (IDS > 0)).all()
    deep = gray_image(tmp_path / "deep.png", IDS.astype(np.uint16))
    assert list(read_masks(deep)) == [2, 5]


def test_a_gray_picture_saved_in_color_is_read(tmp_path: Path) -> None:
    gray = np.where(IDS > 0, 255, 0).astype(np.uint8)
    path = gray_image(tmp_path / "m.png", np.stack([gray] * 3, axis=2))
    assert (read_masks(path)[ONE].bitmap == (IDS > 0)).all()


def test_a_color_picture_is_refused(tmp_path: Path) -> None:
    path = gray_image(tmp_path / "m.png", PALETTE[IDS])
    with pytest.raises(InputError, match="color image"):
        read_masks(path)


def test_a_mask_without_a_foreground_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no foreground pixel"):
        read_masks(gray_image(tmp_path / "m.png", np.zeros((6, 8), np.uint8)))


def test_a_missing_or_damaged_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no mask"):
        read_masks(tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG rubbish")
    with pytest.raises(InputError, match="cannot be read"):
        read_masks(tmp_path / "bad.png")


def test_one_object_of_several_is_taken_by_its_number(tmp_path: Path) -> None:
    path = palette_image(tmp_path / "m.png")
    assert (read_mask(path, 5).bitmap == (IDS == 5)).all()
    with pytest.raises(InputError, match="has the objects 2, 5 but not 3"):
        read_mask(path, 3)


def test_an_only_object_may_be_given_any_number(tmp_path: Path) -> None:
    path = gray_image(tmp_path / "m.png", (IDS == 2).astype(np.uint8) * 255)
    assert (read_mask(path, 9).bitmap == (IDS == 2)).all()


def prompts_file(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_prompts_file_shows_objects_in_all_ways(tmp_path: Path) -> None:
    palette_image(tmp_path / "m.png")
    entries = [
        {"box": [1, 2, 3, 4]},
        {"object": 3, "at": "1.5s", "points": [[5, 6]], "background_points": [[7, 8]]},
        {"object": 4, "at": 12, "box": [0, 0, 5, 5], "points": [[2, 2]]},
        {"object": 5, "mask": "m.png"},
    ]
    shown = read_prompts(prompts_file(tmp_path / "p.json", {"prompts": entries}))
    assert shown[0] == TimedPrompt(ONE, Box(1, 2, 3, 4))
    assert shown[1] == TimedPrompt(
        ObjectId(3), Points(((5, 6), (7, 8)), (True, False)), Seconds(1.5)
    )
    assert shown[2].prompt == Points(((2, 2),), (True,), Box(0, 0, 5, 5))
    assert shown[2].at == 12
    assert isinstance(shown[3].prompt, Mask)
    assert (shown[3].prompt.bitmap == (IDS == 5)).all()


def test_a_mask_in_a_prompts_file_may_show_several_objects(tmp_path: Path) -> None:
    palette_image(tmp_path / "m.png")
    shown = read_prompts(prompts_file(tmp_path / "p.json", [{"mask": "m.png", "at": 3}]))
    assert [(s.object_id, s.at) for s in shown] == [(2, 3), (5, 3)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ({}, "expected a list of prompts"),
        ([], "expected a list of prompts"),
        ([5], "prompt 0: expected an object"),
        ([{"box": [1, 2, 3, 4]}, {"boxes": []}], "prompt 1: unknown key 'boxes'"),
        ([{"box": [1, 2, 3]}], "a box has 4 numbers, got 3"),
        ([{"box": ["a", 2, 3, 4]}], "prompt 0"),
        ([{"points": [[1]]}], "a point has 2 numbers"),
        ([{"points": 5}], "prompt 0"),
        ([{"background_points": [[1, 2]]}], "background points need"),
        ([{"object": 2}], "object 2 has no prompt"),
        ([{"object": 0, "box": [1, 2, 3, 4]}], "object 0: expected a number from 1 to 255"),
        ([{"object": "cat", "box": [1, 2, 3, 4]}], "prompt 0"),
        ([{"box": [1, 2, 3, 4], "at": -1}], "frames count from 0"),
        ([{"box": [1, 2, 3, 4], "at": "later"}], "no place in a video"),
        ([{"box": [1, 2, 3, 4], "at": [1]}], "at: expected a frame such as 12"),
        ([{"box": [1, 2, 3, 4], "at": True}], "at: expected a frame such as 12"),
        ([{"box": [20, 40, 50, None]}], r"a box has 4 numbers, \[x0, y0, x1, y1\], got \[20, 40"),
        ([{"box": {"x": 1}}], "a box has 4 numbers"),
        ([{"box": [1, 2, 10**400, 4]}], "(no pixel's|integer of 401 digits)"),
        ('[{"box": [0, 0, 1e999, 5]}]', "1e999 is too large"),
        ("[" * 100_000, "nested too deeply"),
        ([{"points": [35, 55]}], r"points: expected points such as \[\[x, y\], \[x, y\]\], got"),
        ([{"object": "car", "box": [1, 2, 3, 4]}], "object: expected a number from 1 to 255"),
        ([{"object": 1.5, "box": [1, 2, 3, 4]}], "object: expected a number from 1 to 255"),
        ([{"mask": 5}], "mask: expected the name of an image"),
        ([{"mask_id": 2, "box": [1, 2, 3, 4]}], "need a mask image"),
        ([{"mask": "m.png", "mask_id": "2"}], "mask_id: expected a number or a list"),
        ([{"mask": "m.png", "mask_color": 2}], "mask_color: expected a color"),
        ([{"mask": "m.png", "invert": 2}], "invert: expected true or false"),
        ([{"rle": {"counts": "04"}}], "a run-length mask has another form"),
        ([{"rle": {"size": [2, 2], "counts": None}}], "a run-length mask has no counts"),
        ([{"rle": {"size": [10**9, 10**9], "counts": []}}], "more than can be processed"),
        ([{"rle": {"size": [2, 2], "counts": [10**30]}}], "a run-length mask has no counts"),
        ([{"rle": {"size": [2, 2], "counts": [1, 1, 1]}}], "add up to 3 pixels, expected 2x2"),
        ([{"data": {}, "annotations": [{"result": []}]}], "an export of Label Studio"),
        ({"shapes": [], "imagePath": "a.png"}, "an export of LabelMe"),
        ("<?xml version='1.0'?><annotations/>", "as exported by CVAT"),
        ({"annotations": [{"segmentation": [[1, 2, 3, 4]]}]}, "annotation 1 is a polygon"),
        ({"annotations": [{"image_id": 1}, {"image_id": 2}]}, "annotations of 2 images"),
        ([{"box": [3, 3, 1, 1]}], "empty box"),
        ([{"mask": "none.png"}], "no mask"),
        ([{"mask": "none.png", "box": [1, 2, 3, 4]}], "a mask cannot be combined"),
    ],
)
def test_a_prompts_file_of_another_form_is_refused(
    tmp_path: Path, content: object, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        read_prompts(prompts_file(tmp_path / "p.json", content))


PYTHONS = ("invalid literal", "could not convert", "not iterable", "argument", "unpack", "Errno")


@pytest.mark.parametrize("key", ["object", "at", "box", "points", "background_points", "mask"])
@pytest.mark.parametrize("value", [None, True, "", "x", 1.5, [], [None], [[1, None]], {}, [[]]])
def test_no_value_of_a_prompts_file_is_answered_in_pythons_words(
    tmp_path: Path, key: str, value: object
) -> None:
    path = prompts_file(tmp_path / "p.json", [{"box": [1, 2, 30, 40], key: value}])
    said = ""
    try:
        read_prompts(path)
    except InputError as error:
        said = str(error)
    assert not any(words in said for words in PYTHONS)


def test_run_length_masks_of_coco_are_read(tmp_path: Path) -> None:
    runs = [int(n) for n in runs_of(IDS == 5)]
    forms = {"size": [6, 8], "counts": encode_rle(IDS == 5)}, {"size": [6, 8], "counts": runs}
    for rle in forms:
        (one,) = read_prompts(prompts_file(tmp_path / "p.json", [{"object": 3, "rle": rle}]))
        assert one.object_id == 3
        assert (one.prompt.bitmap == (IDS == 5)).all()
        coco = {"images": [], "annotations": [{"image_id": 1, "segmentation": rle}] * 2}
        shown = read_prompts(prompts_file(tmp_path / "c.json", coco))
        assert [(s.object_id, s.at) for s in shown] == [(1, 0), (2, 0)]


def test_each_object_of_our_own_masks_is_shown_on_its_first_frame(tmp_path: Path) -> None:
    def row(frame: int, **areas: int) -> dict[str, object]:
        mask = {"size": [6, 8], "counts": encode_rle(IDS == 5)}
        each = [{"id": int(i[1:]), "area": a, "segmentation": mask} for i, a in areas.items()]
        return {"frame": frame, "objects": each}

    own = {"video": {}, "frames": [row(0, o1=6, o2=0), row(1, o1=6), row(2, o1=6, o2=6)]}
    shown = read_prompts(prompts_file(tmp_path / "rle.json", own))
    assert [(s.object_id, s.at) for s in shown] == [(1, 0), (2, 2)]


def test_a_prompts_file_says_what_a_mask_image_means(tmp_path: Path) -> None:
    palette_image(tmp_path / "m.png")
    entries = [
        {"object": 1, "mask": "m.png", "mask_id": 5},
        {"object": 2, "mask": "m.png", "mask_color": ",".join(map(str, PALETTE[2]))},
    ]
    shown = read_prompts(prompts_file(tmp_path / "p.json", entries))
    assert (shown[0].prompt.bitmap == (IDS == 5)).all()
    assert (shown[1].prompt.bitmap == (IDS == 2)).all()


def test_a_missing_prompts_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompts file"):
        read_prompts(tmp_path / "p.json")
