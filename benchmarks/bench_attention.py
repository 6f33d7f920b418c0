"""What the compact model's first attention costs on a CPU, frame by frame and in one softmax.

    python benchmarks/bench_attention.py [--threads 2]

Milliseconds of it for 1 and for 3 objects that remember the same frames, median of some rounds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # is read when torch is imported

import torch
from torch import Tensor

from segment_concept.models.compact import onednn
from segment_concept.models.compact.memory_attention import CELLS
from segment_concept.models.compact.neck import Widths
from segment_concept.models.compact.streaming_attention import attend, merge_softmax
from segment_concept.runtime.cpu_memory import keep_freed_memory

SIZES = ((1008, 7), (1196, 7), (1392, 7), (1008, 22))  # tokens of a picture, memories
OBJECTS = (1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    widths = Widths()
    for tokens, memories in SIZES:
        for objects in OBJECTS:
            q = torch.randn(tokens, widths.match)
            keys = torch.randn(memories, tokens, widths.match)
            values = torch.randn(memories, objects, tokens, widths.value + CELLS)
            whole, parts = (
                milliseconds(partial(way, q, keys, values), options.rounds)
                for way in (in_one_softmax, by_frames)
            )
            print(
                f"{tokens} x {memories}, objects {objects}: in one softmax {whole:.1f}, "
                f"frame by frame {parts:.1f}"
            )


def in_one_softmax(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    columns = values.permute(1, 3, 0, 2).flatten(2).flatten(0, 1).contiguous()
    parts = onednn.in_blocks(q, keys.shape[0] * keys.shape[1])
    every = keys.flatten(0, 1)
    return torch.cat([onednn.linear(onednn.linear(x, every).softmax(-1), columns) for x in parts])


def by_frames(q: Tensor, keys: Tensor, values: Tensor) -> list[Tensor]:
    answers = [attend(q, k, v) for k, v in zip(keys, values, strict=True)]
    weights = [a.weight for a in answers]
    return [
        merge_softmax([a.values[o] for a in answers], weights)[0] for o in range(values.shape[1])
    ]


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    spent = []
    with torch.inference_mode():
        for _ in range(3 + rounds):
            began = time.perf_counter()
            work()
            spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent[3:])


if __name__ == "__main__":
    main()
