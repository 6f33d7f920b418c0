"""Which number type a device is given."""

import pytest
import torch

from segment_concept.checkpoints.load import torch_dtype
from segment_concept.runtime.gpu import allow_tf32, computes_bfloat16

CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
)
def test_auto_is_bfloat16_on_gpus_that_compute_with_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert torch_dtype("auto", GPU) == expected
    assert torch_dtype("float16", GPU) == torch.float16


def test_auto_is_float32_on_a_cpu():
    assert not computes_bfloat16(CPU)
    assert torch_dtype("auto", CPU) == torch.float32


@pytest.mark.parametrize("newer", [False, True])
def test_apples_gpu_has_bfloat16_since_macos_14(monkeypatch, newer):
    asked = []
    monkeypatch.setattr(
        torch.backends.mps, "is_macos_or_newer", lambda *version: asked.append(version) or newer
    )
    assert computes_bfloat16(torch.device("mps")) == newer
    assert asked == [(14, 0)]


def test_float32_products_may_be_tf32():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        allow_tf32()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
