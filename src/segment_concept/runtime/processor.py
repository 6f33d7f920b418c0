"""What the processor computes fast."""

import os

import torch

_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


def fast_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it faster than float32, else float32.

    That is one with AVX-512 BF16, as every one with AMX is. Where oneDNN or torch is told by the
    environment to use less than the processor has, it is float32.
    """
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    limited = any(name in os.environ for name in _LIMITS)
    return torch.bfloat16 if supported() and not limited else torch.float32
