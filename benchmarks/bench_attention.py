"""What the size of its matrix costs the compact model's attention on a CPU.

    python benchmarks/bench_attention.py [--threads 2]

Milliseconds of one object's attention, median of some rounds, with the matrix of weights made whole
and in blocks of some megabytes; GLIBC keeps what is freed up to 32 MB (checkpoints/allocator.py).
"""

import argparse
import os
import statistics
import time
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # is read when torch is imported

import torch

from segment_concept.checkpoints.allocator import keep_freed_memory
from segment_concept.models.compact import onednn
from segment_concept.models.compact.memory import CELLS
from segment_concept.models.compact.picture import Widths

SIZES = ((1008, 7), (1196, 7), (1392, 7), (1008, 22))  # tokens of a picture, memories
BLOCKS = (None, 30, 16, 4)  # MB, or whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    for tokens, memories in SIZES:
        took = [milliseconds(tokens, memories, block, options.rounds) for block in BLOCKS]
        said = (f"{b or 'whole'} {t:.1f}" for b, t in zip(BLOCKS, took, strict=True))
        print(f"{tokens} x {memories}: " + ", ".join(said))


def milliseconds(tokens: int, memories: int, block: int | None, rounds: int) -> float:
    widths, keys = Widths(), tokens * memories
    q, k = torch.randn(1, tokens, widths.match), torch.randn(1, keys, widths.match)
    v, bias = torch.randn(1, keys, widths.value + CELLS), torch.zeros(1, keys)
    spent = []
    with (
        patch.object(onednn, "_LARGEST", block << 20 if block else 1 << 40),
        torch.inference_mode(),
    ):
        for _ in range(3 + rounds):
            began = time.perf_counter()
            onednn.attend(q, k, v, bias)
            spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent[3:])


if __name__ == "__main__":
    main()
