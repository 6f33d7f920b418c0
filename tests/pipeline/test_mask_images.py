"""What a mask image means: read where it is clear, refused with the remedy where it is not."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from segment_concept.ops.color import PALETTE
from segment_concept.pipeline.mask_images import (
    MaskChoice,
    parse_color,
    parse_ids,
    read_mask,
    read_mask_image,
    read_masks,
)
from segment_concept.types import InputError, ObjectId

SIZE = (120, 160)
FIRST, SECOND = np.zeros(SIZE, np.bool_), np.zeros(SIZE, np.bool_)
FIRST[40:70, 20:50] = True
SECOND[80:110, 100:140] = True
LABELS = np.where(FIRST, 1, np.where(SECOND, 2, 0)).astype(np.uint8)
WHITE = (FIRST * 255).astype(np.uint8)
BLURRED = Image.fromarray(WHITE).filter(ImageFilter.GaussianBlur(1))


def saved(path: Path, values: np.ndarray | Image.Image, **how: object) -> Path:
    picture = values if isinstance(values, Image.Image) else Image.fromarray(values)
    picture.save(path, **how)  # type: ignore[arg-type]
    return path


def with_palette(indices: np.ndarray, colors: np.ndarray = PALETTE) -> Image.Image:
    picture = Image.fromarray(indices)
    picture.putpalette(colors.astype(np.uint8).tobytes())
    return picture


PLAIN = MaskChoice()


def areas(path: Path, choice: MaskChoice = PLAIN) -> dict[int, int]:
    return {int(i): int(m.bitmap.sum()) for i, m in read_masks(path, choice).items()}


def with_border(labels: np.ndarray, value: int) -> np.ndarray:
    ringed = labels.copy()
    ringed[35:40, 15:55] = ringed[70:75, 15:55] = value
    ringed[35:75, 15:20] = ringed[35:75, 50:55] = value
    return ringed


@pytest.mark.parametrize("thin", [True, False])
def test_a_void_border_is_left_out_and_said(tmp_path: Path, thin: bool) -> None:
    labels = with_border(LABELS, 255)
    if thin:
        labels = LABELS.copy()
        labels[39, 19:51] = labels[70, 19:51] = 255
    for picture in (Image.fromarray(labels), with_palette(labels)):
        found = read_mask_image(saved(tmp_path / "m.png", picture))
        assert {i: int(m.bitmap.sum()) for i, m in found.masks.items()} == {1: 900, 2: 1200}
        assert "255 is a border and was left out" in found.interpretation


def test_an_object_255_beside_others_is_refused_until_it_is_named(tmp_path: Path) -> None:
    labels = np.where(LABELS == 2, 255, LABELS).astype(np.uint8)
    path = saved(tmp_path / "m.png", with_palette(labels))
    with pytest.raises(InputError, match=r"255 may be an object or void.* --mask-id 1,2"):
        read_masks(path)
    assert areas(path, MaskChoice(ids=(1, 255))) == {1: 900, 255: 1200}


def test_a_transparent_background_of_a_palette_is_the_background(tmp_path: Path) -> None:
    colors = np.zeros((256, 3))
    colors[1], colors[2] = (128, 0, 0), (0, 128, 0)
    path = saved(tmp_path / "m.png", with_palette(LABELS, colors), transparency=0)
    assert areas(path) == {1: 900, 2: 1200}


def test_soft_edges_are_one_object_however_they_were_saved(tmp_path: Path) -> None:
    for picture in (BLURRED, BLURRED.convert("RGB"), BLURRED.convert("RGB").quantize(32)):
        found = areas(saved(tmp_path / "m.png", picture))
        assert list(found) == [1]
        assert found[1] == pytest.approx(900, abs=10)
    found = areas(saved(tmp_path / "m.jpg", BLURRED, quality=70))
    assert found[1] == pytest.approx(900, abs=20)


@pytest.mark.parametrize("levels", [3, 4, 6, 12])
def test_few_levels_of_a_soft_edge_are_no_objects(tmp_path: Path, levels: int) -> None:
    step = 255 // (levels - 1)
    coarse = (np.asarray(BLURRED).astype(int) + step // 2) // step * step
    gray = coarse.clip(0, 255).astype(np.uint8)
    assert list(areas(saved(tmp_path / "m.png", gray))) == [1]


def test_soft_edges_in_color_are_refused(tmp_path: Path) -> None:
    red = np.stack([np.asarray(BLURRED), np.zeros(SIZE, np.uint8), np.asarray(BLURRED) // 3], 2)
    path = saved(tmp_path / "m.png", Image.fromarray(red).quantize(16))
    with pytest.raises(InputError, match="--mask-color"):
        read_masks(path)
    found = areas(path, MaskChoice(color=(255, 0, 85)))
    assert found[1] == pytest.approx(840, abs=80)


@pytest.mark.parametrize("colors", [2, 4])
def test_inverted_black_and_white_is_refused_until_it_is_said(tmp_path: Path, colors: int) -> None:
    inverted = Image.fromarray(255 - WHITE)
    for picture in (inverted, inverted.convert("RGB").quantize(colors)):
        path = saved(tmp_path / "m.png", picture)
        with pytest.raises(InputError, match="use --invert if the object is black"):
            read_masks(path)
        assert areas(path, MaskChoice(invert=True)) == {1: 900}
        assert areas(path, MaskChoice(color=parse_color("white"))) == {1: 120 * 160 - 900}


def test_quantized_white_on_black_is_one_object(tmp_path: Path) -> None:
    for colors in (2, 8):
        picture = Image.fromarray(WHITE).convert("RGB").quantize(colors)
        assert areas(saved(tmp_path / "m.png", picture)) == {1: 900}


@pytest.mark.parametrize(("black", "white"), [(16, 235), (3, 252), (0, 255), (0, 128)])
def test_nearly_black_and_white_are_one_object(tmp_path: Path, black: int, white: int) -> None:
    gray = np.where(FIRST, white, black).astype(np.uint8)
    assert list(areas(saved(tmp_path / "m.png", gray)).values()) == [900]


def test_a_layer_with_constant_opacity_is_what_it_shows(tmp_path: Path) -> None:
    for alpha in (128, 255, 20):
        layer = np.repeat(WHITE[..., None], 4, axis=2)
        layer[..., 3] = alpha
        assert areas(saved(tmp_path / "m.png", layer)) == {1: 900}


def test_a_layer_is_its_opaque_part_where_that_is_one_color_or_a_photo(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for rgb in (np.full((*SIZE, 3), 200), rng.integers(0, 255, (*SIZE, 3))):
        layer = np.dstack((rgb, WHITE)).astype(np.uint8)
        assert areas(saved(tmp_path / "m.png", layer)) == {1: 900}


def test_a_layer_with_shapes_in_color_and_in_transparency_is_refused(tmp_path: Path) -> None:
    rgb = np.where(FIRST[..., None], (255, 0, 0), (0, 0, 255))
    layer = np.dstack((rgb, (FIRST | SECOND) * 255)).astype(np.uint8)
    path = saved(tmp_path / "m.png", layer)
    with pytest.raises(InputError, match="different shapes in its transparency and in its colors"):
        read_masks(path)
    assert areas(path, MaskChoice(color=(0, 0, 255))) == {1: 1200}


def test_a_transparent_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="transparent everywhere"):
        read_masks(saved(tmp_path / "m.png", np.zeros((*SIZE, 4), np.uint8)))


def test_sixteen_bits_are_ids_or_white(tmp_path: Path) -> None:
    assert areas(saved(tmp_path / "a.png", LABELS.astype(np.uint16))) == {1: 900, 2: 1200}
    assert areas(saved(tmp_path / "b.png", WHITE.astype(np.uint16) * 257)) == {1: 900}
    path = saved(tmp_path / "c.png", np.where(LABELS > 1, np.uint16(300), LABELS))
    with pytest.raises(InputError, match="has the id 300, but ids go up to 255"):
        read_masks(path)
    assert areas(path, MaskChoice(ids=(300,))) == {1: 1200}


def test_one_color_on_black_is_one_object_and_more_are_refused(tmp_path: Path) -> None:
    assert areas(saved(tmp_path / "a.png", PALETTE[FIRST.astype(int)])) == {1: 900}
    path = saved(tmp_path / "b.png", PALETTE[LABELS])
    with pytest.raises(InputError, match=r"color image.*#000000 \(89 %\).*--mask-color"):
        read_masks(path)
    assert areas(path, MaskChoice(color=(0, 128, 0))) == {1: 1200}
    two = np.where(FIRST[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    with pytest.raises(InputError, match="--mask-color"):
        read_masks(saved(tmp_path / "c.png", two))


def test_a_turned_photo_of_a_mask_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    path = saved(tmp_path / "m.jpg", Image.fromarray(WHITE), exif=exif, quality=95)
    (mask,) = read_masks(path).values()
    assert mask.bitmap.shape == (160, 120)
    assert np.mean(mask.bitmap == np.rot90(FIRST, -1)) > 0.99


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_that_is_the_whole_picture_is_refused(tmp_path: Path, value: int) -> None:
    with pytest.raises(InputError, match="the whole image would be the object"):
        read_masks(saved(tmp_path / "m.png", np.full(SIZE, value, np.uint8)))


def test_a_photo_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photo = rng.normal(128, 40, SIZE).clip(0, 255).astype(np.uint8)
    with pytest.raises(InputError, match="looks like a photo"):
        read_masks(saved(tmp_path / "m.png", photo))


def test_two_solid_grays_are_refused_until_one_is_named(tmp_path: Path) -> None:
    gray = np.where(FIRST, 128, np.where(SECOND, 255, 0)).astype(np.uint8)
    path = saved(tmp_path / "m.png", gray)
    with pytest.raises(InputError, match="areas of the values 128 and 255"):
        read_masks(path)
    assert areas(path, MaskChoice(ids=(128,))) == {128: 900}


def test_an_id_or_color_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", LABELS)
    with pytest.raises(InputError, match="has no pixel with the value 7; its values are 0, 1, 2"):
        read_masks(path, MaskChoice(ids=(7,)))
    with pytest.raises(InputError, match="has no pixel of the color 255,0,0"):
        read_masks(path, MaskChoice(color=(255, 0, 0)))
    with pytest.raises(InputError, match="use only one of"):
        MaskChoice(ids=(1,), invert=True)


def test_the_interpretation_is_printed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read_masks(saved(tmp_path / "m.png", LABELS))
    assert "m.png: 2 objects (1, 2), 5 % and 6 % of the image" in caplog.text
    assert read_mask_image(saved(tmp_path / "w.png", WHITE)).interpretation == (
        "w.png: 1 object (1), 5 % of the image"
    )


def test_doubtful_masks_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nearly_all = np.ones(SIZE, np.uint8)
    nearly_all[:6] = 0
    read_masks(saved(tmp_path / "m.png", nearly_all))
    assert "object 1 covers 95 % of the image: if the mask is inverted" in caplog.text
    specks = LABELS.copy()
    for i in range(8):
        specks[5:8, 10 * i : 10 * i + 3] = 10 + i
    read_masks(saved(tmp_path / "s.png", with_palette(specks)))
    assert "8 of 10 objects have fewer than 16 pixels" in caplog.text


def test_pictures_that_cost_memory_are_refused_by_their_header(tmp_path: Path) -> None:
    for size in (14_000, 30_000):
        path = saved(tmp_path / "m.png", Image.new("1", (size, size)))
        with pytest.raises(InputError, match=r"m\.png (is|has) .*pixels"):
            read_masks(path)
    with pytest.raises(InputError, match="device or a pipe"):
        read_masks(Path("/dev/zero"))
    (tmp_path / "e.png").touch()
    with pytest.raises(InputError, match="is empty"):
        read_masks(tmp_path / "e.png")


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(WHITE), Image.fromarray(LABELS)]
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="has several images"):
        read_masks(tmp_path / "m.tif")


def test_colors_and_ids_are_understood_from_text() -> None:
    assert parse_color("red") == parse_color("#ff0000") == parse_color("255, 0,0") == (255, 0, 0)
    assert parse_ids("1, 20") == (1, 20)
    for text in ("", "reddish", "300", "1,2", "\u00b2,1,1"):
        with pytest.raises(InputError, match="is not a color"):
            parse_color(text)
    for text in ("", "a", "1;2", "\u00b2", "-1", "9" * 40):
        with pytest.raises(InputError, match="is not a list of ids"):
            parse_ids(text)


def test_an_object_of_a_named_mask_takes_the_number_that_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", LABELS)
    assert read_mask(path, 9, MaskChoice(ids=(2,))).bitmap.sum() == 1200
    assert ObjectId(2) in read_masks(path)
