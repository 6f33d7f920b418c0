import pytest
import torch

from segment_concept.baselines.resize import AsItIs, FrameTransform, ScaleTo, ShrinkTo
from segment_concept.baselines.session import (
    cutie_long_video_settings,
    cutie_plus_settings,
    cutie_settings,
    xmem_settings,
    xmem_short_video_settings,
)
from segment_concept.ops.resize import normalized
from segment_concept.types import InputError


@pytest.mark.parametrize(
    ("resize", "video", "inner"),
    [
        (ShrinkTo(480), (1080, 1920), (480, 853)),
        (ShrinkTo(480), (360, 640), (360, 640)),
        (ScaleTo(480), (1080, 1920), (480, 853)),
        (ScaleTo(480), (360, 640), (480, 853)),
        (ScaleTo(480), (640, 360), (853, 480)),
        (AsItIs(), (37, 91), (37, 91)),
    ],
)
def test_a_video_is_read_in_the_published_size(resize, video, inner):
    assert FrameTransform.of(video, resize).inner == inner


@pytest.mark.parametrize("size", [(96, 120), (17, 33), (16, 16), (1, 31)])
def test_padding_is_centred_and_makes_whole_strides(size):
    fit = FrameTransform.of(size, AsItIs())
    left, right, top, bottom = fit.padding
    assert (size[0] + top + bottom) % 16 == (size[1] + left + right) % 16 == 0
    assert right - left in (0, 1)
    assert bottom - top in (0, 1)
    assert max(fit.padding) <= 8


@pytest.mark.parametrize("resize", [AsItIs(), ScaleTo(20)])
def test_a_mask_survives_the_way_to_the_network_and_back(resize):
    bitmap = torch.zeros(21, 35, dtype=torch.bool)
    bitmap[4:15, 7:29] = True
    fit = FrameTransform.of((21, 35), resize)
    padded = fit.mask(bitmap)
    assert padded.shape[0] % 16 == padded.shape[1] % 16 == 0
    back = fit.scores(padded[None])[0] > 0.5
    overlap = (back & bitmap).sum() / (back | bitmap).sum()
    assert overlap == 1 if fit.inner == fit.video else overlap > 0.85


def test_a_resized_picture_keeps_its_colors_in_range():
    rgb = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8)
    picture = FrameTransform.of((40, 60), ScaleTo(25)).picture(rgb)
    assert picture.shape == (1, 3, 25, 37)
    assert picture.min() >= 0
    assert picture.max() <= 1


def test_normalising_takes_out_the_mean_of_imagenet():
    gray = torch.tensor((0.485, 0.456, 0.406))[None, :, None, None]
    assert not normalized(gray).any()


@pytest.mark.parametrize("build", [ShrinkTo, ScaleTo])
def test_a_video_cannot_be_made_smaller_than_a_pixel(build):
    with pytest.raises(InputError, match="at least 1 pixel"):
        build(0)


def test_published_settings_are_as_the_papers_used_them():
    assert cutie_settings().retention.frames == 5
    assert cutie_plus_settings().retention.frames == 10
    assert cutie_plus_settings().memory_every == 3
    for settings in (cutie_long_video_settings(), xmem_settings()):
        retention = settings.retention
        assert (retention.max_frames, retention.min_frames) == (10, 5)
        assert (retention.prototypes, retention.max_tokens) == (128, 10_000)
    for settings in (cutie_settings(), xmem_settings(), xmem_short_video_settings()):
        assert (settings.memory_every, settings.top_k, settings.resize.side) == (5, 30, 480)
