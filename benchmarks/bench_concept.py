"""What a query to the concept encoder costs, beside recomputing everything.

    python benchmarks/bench_concept.py                      # a scaled-down network, minutes on CPU
    python benchmarks/bench_concept.py --size internvl2.5-4b --device cuda --dtype bfloat16

Weights are random (time does not depend on them). One line for every number of objects and
keyframes; the columns are seconds a query:

    recompute   everything anew, object after object, as SeC's release does (without the
                language-model head and the words after [SEG], which the release also computes)
    cold        first query about the objects: nothing is known yet
    unchanged   asked before about the same keyframes: only the query frame is read
    joined      a keyframe joined since the last query
    moved       a keyframe joined and the second one left, as in a full bank
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from random_weights import RandomWeights

from segment_concept.checkpoints.files import tensors
from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network, load_tokenizer
from segment_concept.models.internvl.encoder import InternVLConceptEncoder
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import Tokenizer
from segment_concept.models.internvl.sizes import (
    SIZES,
    ConceptSize,
    LanguageSize,
    VisionSize,
    size_named,
)
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.types import Frame

TOKENIZER = Path(__file__).parents[1] / "tests" / "fixtures" / "parity" / "sec_tokenizer"
SCALED_DOWN = ConceptSize(  # a quarter of the 4B's width, an eighth to a ninth of its depth
    VisionSize(width=256, layers=3, heads=4, mlp_width=1024),
    LanguageSize(width=512, layers=4, heads=4, key_value_heads=2, mlp_width=2752, vocabulary=263),
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
KEYFRAMES, OBJECTS = (1, 3, 7), (1, 5)
VIDEO = (480, 854)  # height, width


@dataclass(frozen=True)
class Scene:
    """An encoder, and a video in which every object has its own keyframes."""

    network: ConceptNetwork
    tokenizer: Tokenizer
    keyframes: dict[int, list[Keyframe]]  # for each object
    query: Frame
    repeats: int

    def encoder(self, remember: int = 16) -> InternVLConceptEncoder:
        return InternVLConceptEncoder(self.network, self.tokenizer, remember)

    def requests(self, objects: int, used: list[int]) -> list[ConceptRequest]:
        return [ConceptRequest(tuple(self.keyframes[i][k] for k in used)) for i in range(objects)]

    def seconds(self, prepare: Callable[[], Callable[[], None]]) -> float:
        """The fastest of some runs of what `prepare` returns; preparing is not timed."""
        best = float("inf")
        for _ in range(self.repeats):
            run = prepare()
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        return best


def random_network(size: ConceptSize, placement: Placement) -> ConceptNetwork:
    with torch.device("meta"):
        laid_out = ConceptNetwork(size)
    weights = RandomWeights.of(laid_out, placement.dtype, placement.language)
    return load_concept_network(size, tensors(weights), placement, rename=lambda name, t: {name: t})


def make_keyframes(objects: int) -> dict[int, list[Keyframe]]:
    generator = np.random.default_rng(0)
    height, width = VIDEO
    frames = [
        Frame(i, generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for i in range(max(KEYFRAMES) + 1)
    ]
    keyframes: dict[int, list[Keyframe]] = {}
    for i in range(objects):
        mask = np.zeros(VIDEO, bool)
        mask[100:300, 80 * i : 80 * i + 160] = True
        keyframes[i] = [Keyframe(frame, mask) for frame in frames]
    return keyframes


def recompute(scene: Scene, objects: int, used: list[int]) -> float:
    encoder = scene.encoder(remember=0)

    def run() -> None:
        for request in scene.requests(objects, used):
            encoder.encode([request], scene.query)

    return scene.seconds(lambda: run)


def after(scene: Scene, objects: int, before: list[int], used: list[int]) -> float:
    """A query about `used` where the one before it was about `before` (none: a cold one)."""

    def prepare() -> Callable[[], None]:
        encoder = scene.encoder()
        if before:
            encoder.encode(scene.requests(objects, before), scene.query)
        requests = scene.requests(objects, used)
        return lambda: _discard(encoder.encode(requests, scene.query))

    return scene.seconds(prepare)


def _discard(_: object) -> None:
    """Results are not looked at."""


def line(scene: Scene, objects: int, count: int) -> list[str]:
    used = list(range(count))
    moved = [0, *range(2, count + 1)]
    times = [
        recompute(scene, objects, used),
        after(scene, objects, [], used),
        after(scene, objects, used, used),
        after(scene, objects, used[:-1], used) if count > 1 else None,
        after(scene, objects, used, moved) if count > 1 else None,
    ]
    return [str(objects), str(count), *("-" if t is None else f"{t:.3f}" for t in times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="scaled-down", help=f"scaled-down, {', '.join(SIZES)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--four-bit", action="store_true", help="language model in 4 bits")
    parser.add_argument("--repeats", type=int, default=2, help="the fastest run is reported")
    options = parser.parse_args()
    size = SCALED_DOWN if options.size == "scaled-down" else size_named(options.size)
    placement = Placement(
        options.device, options.device, DTYPES[options.dtype], four_bit=options.four_bit
    )
    network = random_network(size, placement)
    height, width = VIDEO
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    scene = Scene(
        network,
        load_tokenizer(TOKENIZER),
        make_keyframes(max(OBJECTS)),
        Frame(99, rgb),
        options.repeats,
    )
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    cached = size.cache_bytes(max(KEYFRAMES), DTYPES[options.dtype].itemsize)
    print(
        f"{options.size} on {options.device}, {options.dtype}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads: weights {weights / 2**20:.0f} MiB, "
        f"{cached / 2**20:.1f} MiB kept for an object with {max(KEYFRAMES)} keyframes\n"
    )
    header = ["objects", "keyframes", "recompute", "cold", "unchanged", "joined", "moved"]
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for objects in OBJECTS:
        for count in KEYFRAMES:
            print("| " + " | ".join(line(scene, objects, count)) + " |", flush=True)
    if torch.cuda.is_available():
        print(f"\npeak GPU memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
