"""What the compact network runs on a CPU in place of torch's own choice gives the same numbers."""

import pytest
import torch
import torch.nn.functional as F

from segment_concept.models.compact import backbone_onednn as fused_module
from segment_concept.models.compact import onednn
from segment_concept.models.compact.backbone import Backbone
from segment_concept.models.compact.backbone_onednn import OneDnnBackbone, fused
from segment_concept.models.compact.layers import Attention, Linear, PointwiseConv
from segment_concept.runtime.processor import fast_dtype

needs_onednn = pytest.mark.skipif(not onednn.AVAILABLE, reason="this torch has no oneDNN")


@pytest.fixture(scope="module")
def trunk() -> Backbone:
    """Random weights under which every level keeps the scale of the pixels."""
    torch.manual_seed(0)
    made = Backbone().eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if name.endswith("weight"):
            parameter.mul_(2.0)
    return made.channels_last()


@needs_onednn
def test_a_fused_trunk_gives_the_trunks_levels_for_pictures_of_one_size_after_another(trunk):
    made = fused(trunk)
    assert isinstance(made, OneDnnBackbone)
    for size in ((256, 448), (448, 256), (64, 96), (256, 448)):
        pixels = torch.rand(2, 3, *size).mul(255).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for expected, found in zip(trunk(pixels), made(pixels), strict=True):
                assert expected.abs().max() > 0.01
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("strip", [1, 20_000, 200_000])
def test_a_large_picture_is_made_in_strips_that_fit_together(trunk, monkeypatch, strip):
    monkeypatch.setattr(fused_module, "_LARGEST", 0)
    monkeypatch.setattr(fused_module, "_STRIP", strip)
    made = fused(trunk)
    for count in (1, 2):
        pixels = torch.rand(count, 3, 96, 160).mul(255)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for expected, found in zip(trunk(pixels), made(pixels), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


needs_bfloat16 = pytest.mark.skipif(
    fast_dtype() != torch.bfloat16, reason="this processor has no fast bfloat16"
)


@needs_bfloat16
@torch.inference_mode()
def test_a_trunk_in_bfloat16_gives_float32_levels_that_are_those_of_float32_but_for_rounding(trunk):
    made = fused(trunk, torch.bfloat16)
    pixels = torch.rand(1, 3, 96, 160).mul(255).contiguous(memory_format=torch.channels_last)
    for expected, found in zip(trunk(pixels), made(pixels), strict=True):
        assert found.dtype == torch.float32
        deviation = (found - expected).square().mean().sqrt() / expected.std()
        assert deviation < 0.1


@needs_bfloat16
@torch.inference_mode()
def test_a_large_picture_in_bfloat16_is_made_in_strips_that_fit_together(trunk, monkeypatch):
    whole = fused(trunk, torch.bfloat16)
    pixels = torch.rand(1, 3, 96, 160).mul(255).contiguous(memory_format=torch.channels_last)
    expected = whole(pixels)
    monkeypatch.setattr(fused_module, "_LARGEST", 0)
    monkeypatch.setattr(fused_module, "_STRIP", 20_000)
    for a, b in zip(expected, fused(trunk, torch.bfloat16)(pixels), strict=True):
        torch.testing.assert_close(b, a, rtol=0.05, atol=0.02)


def test_a_fused_trunk_has_the_trunks_parameters(trunk):
    for name, weight in fused(trunk).state_dict().items():
        assert torch.equal(weight, trunk.state_dict()[name])


def test_numbers_of_another_type_are_left_to_torch():
    other = Backbone().to(torch.bfloat16)
    assert fused(other) is other


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_torchs(bias):
    torch.manual_seed(0)
    layer, x = Linear(24, 10, bias=bias), torch.randn(3, 7, 24)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_slices_of_wider_matrices_are_taken():
    x, weight = torch.randn(20, 48)[:, 8:32], torch.randn(2000, 48)[:, :24]
    with torch.inference_mode():
        torch.testing.assert_close(onednn.linear(x, weight), F.linear(x, weight))


def test_gradients_flow_where_they_are_wanted():
    torch.manual_seed(0)
    layer, x = Linear(6, 4), torch.randn(2, 6, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert layer.weight.grad.abs().sum() > 0


@needs_onednn
def test_rows_are_taken_in_blocks_that_are_not_too_large(monkeypatch):
    monkeypatch.setattr(onednn, "_LARGEST", 2 * 11 * 4)
    with torch.inference_mode():
        assert [len(block) for block in onednn.in_blocks(torch.randn(7, 8), 11)] == [2, 2, 2, 1]
        assert [len(block) for block in onednn.in_blocks(torch.randn(0, 8), 11)] == [0]
    assert len(onednn.in_blocks(torch.randn(7, 8), 11)) == 1  # with gradients it is not made again


@pytest.mark.parametrize("grid", [(4, 6), (2, 2)])
def test_pooled_keys_are_means_of_two_by_two(grid):
    torch.manual_seed(0)
    h, w = grid
    attention = Attention(16, 8, heads=2)
    x = torch.randn(1, h * w, 16)
    with torch.inference_mode():
        found = attention(x, x, x, pooled=grid)
        # Keys and values are linear in x: means of theirs are those of means.
        means = F.avg_pool2d(x.transpose(1, 2).unflatten(-1, grid), 2).flatten(2).transpose(1, 2)
        torch.testing.assert_close(found, attention(x, means, means))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_pointwise_convolution_is_a_convolution(layout):
    torch.manual_seed(0)
    conv, x = PointwiseConv(6, 10), torch.randn(2, 6, 4, 5).contiguous(memory_format=layout)
    expected = F.conv2d(x, conv.weight, conv.bias)
    assert expected.requires_grad
    torch.testing.assert_close(conv(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(conv(x), expected)
