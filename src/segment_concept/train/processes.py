"""The processes of a run: devices, backend, mixed precision and sharding, by accelerate."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import FullyShardedDataParallelPlugin, gather_object

from segment_concept.runtime.gpu import find_device
from segment_concept.train.task import LoopOptions
from segment_concept.types import InputError, OutputError

_PATIENCE = timedelta(hours=2)  # for a process that loads or validates longer than the others


@contextmanager
def processes(options: LoopOptions, blocks: Sequence[str]) -> Iterator[Accelerator]:
    """The accelerator of a run under torchrun, or of a process alone; closed on exit.

    Args:
        options: device, precision and sharding.
        blocks: names of the classes that are sharded one by one.

    Raises:
        InputError: no such device, or sharding without GPUs.
        OutputError: another process of the run ended.
    """
    device = find_device(_in_turn(options.device))
    accelerator = Accelerator(
        mixed_precision=options.precision,
        cpu=device.type == "cpu",
        fsdp_plugin=_sharding(options, device, blocks),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            _backend(device),
        ],
    )
    try:
        yield accelerator
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise OutputError(
            "another process of this run ended, so the run stops: its own message says why. The "
            "last state is kept; run the same command again to continue"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)


def own_rank() -> tuple[int, int]:
    """This process's rank and the number of processes, as torchrun says it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def gathered(value: Any) -> list[Any]:
    """The values of all processes, in the order of ranks."""
    found: list[Any] = gather_object([value])
    return found


def _in_turn(name: str) -> str:
    """`auto` and `cuda` spread the processes of a machine over its GPUs."""
    if name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def _backend(device: torch.device) -> InitProcessGroupKwargs:
    """Where the processes meet; processes that share a GPU cannot use NCCL."""
    if device.type != "cuda":
        return InitProcessGroupKwargs(timeout=_PATIENCE)
    # accelerate would choose the device by the local rank, also where there are fewer GPUs.
    os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    os.environ["ACCELERATE_BYPASS_DEVICE_MAP"] = "true"
    torch.cuda.set_device(device)
    shared = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count()
    return InitProcessGroupKwargs(backend="gloo" if shared else "nccl", timeout=_PATIENCE)


def _sharding(
    options: LoopOptions, device: torch.device, blocks: Sequence[str]
) -> FullyShardedDataParallelPlugin | None:
    if not options.shard:
        return None
    if device.type != "cuda":
        # accelerate would train without sharding and not say so.
        raise InputError("sharding needs GPUs: leave --shard out, or train with --device cuda")
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=list(blocks),
        state_dict_type="SHARDED_STATE_DICT",
        reshard_after_forward=True,
    )


def _is_lost_connection(error: RuntimeError) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return any(word in str(error) for word in ("gloo/transport", "NCCL", "Connection closed"))
