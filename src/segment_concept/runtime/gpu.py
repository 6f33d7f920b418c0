"""What a GPU can compute with, and how float32 is computed on it."""

import torch

from segment_concept.types import InputError

_BFLOAT16_SINCE = (8, 0)  # compute capability of NVIDIA's Ampere, the first with bfloat16 units
_MACOS_WITH_BFLOAT16 = (14, 0)


def find_device(name: str = "auto") -> torch.device:
    """The torch device of that name; `auto` prefers CUDA, then Apple's GPU, then the CPU.

    Raises:
        InputError: torch does not know the name, or this machine has no such device.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"there is no device {name!r} here ({str(error).splitlines()[0]}): try --device cpu"
        ) from error
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes with bfloat16 faster than with float32; False for CPUs.

    NVIDIA GPUs on a machine without one, for which memory is estimated, are taken for new ones.
    """
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return True
        if torch.version.hip is not None:
            return bool(torch.cuda.is_bf16_supported())
        return torch.cuda.get_device_capability(device) >= _BFLOAT16_SINCE
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(*_MACOS_WITH_BFLOAT16)
    return device.type != "cpu"


def allow_tf32() -> None:
    """Let NVIDIA GPUs multiply float32 matrices as TF32, for the whole process.

    Products keep 10 bits of mantissa, sums stay float32; SAM 2's scripts do the same. Undo it with
    `torch.set_float32_matmul_precision("highest")`.
    """
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
