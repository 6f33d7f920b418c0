"""The number type that a processor computes fast."""

import pytest
import torch

from segment_concept.runtime.processor import fast_dtype

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_for_processors_that_multiply_it(monkeypatch, has_it):
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_it, raising=False)
    assert fast_dtype() == (torch.bfloat16 if has_it else torch.float32)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_processor_that_is_held_back_computes_in_float32(monkeypatch, limit):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setenv(limit, "AVX2")
    assert fast_dtype() == torch.float32


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert fast_dtype() == torch.float32
