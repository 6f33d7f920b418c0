"""What the parts of a full-size frame cost on a GPU: eager, as CUDA graphs, compiled. Minutes.

    python benchmarks/bench_gpu_parts.py                          # SeC-4B's shapes, random weights
    python benchmarks/bench_gpu_parts.py --only encoder,attention
    python benchmarks/bench_gpu_parts.py --tiny --device cpu      # does the script run?

Sections: host, encoder, attention, heads, session, concept. Every line is printed when it is known,
and a part that fails is named and left out, so that nothing is lost if time runs out. Times are
medians of single calls in milliseconds: `first` of the first call, `host` until Python may go on,
`wall` until the device is done, `in a row` of ten calls of which none waits (a GPU only).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from segment_concept import Box
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B, TINY
from segment_concept.models.sam2.captured import CALLS_BEFORE
from segment_concept.models.sam2.memory_attention import MemoryTokens
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.parts import Compiled, NetworkParts
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import SEC_4B, SIZES
from segment_concept.ops.color import hue_saturation_histogram
from segment_concept.ops.device_resize import square_on_device
from segment_concept.ops.resize import normalized_square, normalized_squares, resize_bicubic
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Frame

VIDEO = (480, 854)  # height, width
SPREAD = 0.02  # standard deviation of weights
WAYS: tuple[Compiled, ...] = ("no", "graphs", "inductor")
POINTERS = 16
KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
)


class Bench:
    """A device, and how time is taken on it."""

    def __init__(self, device: torch.device, ways: list[Compiled], *, tiny: bool) -> None:
        self.device, self.ways, self.tiny, self.began = device, ways, tiny, time.time()
        self.on_gpu = device.type == "cuda"
        self.dtype = torch.bfloat16 if self.on_gpu else torch.float32
        self.calls = 20 if self.on_gpu else 3
        generator = np.random.default_rng(0)
        self.video = [generator.integers(0, 256, (*VIDEO, 3), dtype=np.uint8) for _ in range(8)]

    def say(self, *words: object) -> None:
        print(f"[{time.time() - self.began:5.0f} s]", *words, flush=True)

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def random(self, *shape: int) -> Tensor:
        return torch.rand(shape, device=self.device, dtype=self.dtype)

    def cost(self, name: str, call: Callable[[], object]) -> None:
        """Print a line of times; a failure is a line, too."""
        try:
            self._cost(name, call)
        except Exception as error:  # the other lines are worth having
            self.say(f"{name:54s} FAILED {type(error).__name__}: {str(error)[:160]}")

    def _cost(self, name: str, call: Callable[[], object]) -> None:
        first = self._seconds(call)[1]
        for _ in range(CALLS_BEFORE + 1):  # graphs are captured meanwhile
            call()
        times = [self._seconds(call) for _ in range(self.calls)]
        host, wall = (1e3 * statistics.median(each) for each in zip(*times, strict=True))
        line = f"{name:54s} first {1e3 * first:9.1f}  host {host:8.2f}  wall {wall:8.2f}"
        if self.on_gpu:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(10):
                call()
            end.record()
            self.wait()
            line += f"  in a row {start.elapsed_time(end) / 10:8.2f}"
        self.say(line)

    def _seconds(self, call: Callable[[], object]) -> tuple[float, float]:
        self.wait()
        start = time.perf_counter()
        call()
        returned = time.perf_counter()
        self.wait()
        return returned - start, time.perf_counter() - start


def network_of(bench: Bench) -> Sam2Network:
    """With random weights, and objects that are always visible."""
    small = replace(SIZES["tiny"], image_side=128, slots=22, concept_layers=4)
    with torch.device(bench.device):
        network = Sam2Network(small if bench.tiny else SEC_4B).eval().to(bench.dtype)
    for weight in network.parameters():
        weight.normal_(std=SPREAD) if weight.ndim > 1 else weight.fill_(1.0)
    head: Any = network.mask_decoder.pred_obj_score_head
    head.proj_out.bias.fill_(5.0)
    return network


def host(bench: Bench, network: Sam2Network) -> None:
    side, image = network.sizes.image_side, bench.video[0]
    device, dtype = bench.device, bench.dtype
    bench.cost("PIL, normalize, to the device", lambda: normalized_square(image, side).to(device))
    bench.cost("bytes up, two products there", lambda: square_on_device(image, side, device))
    bench.cost("  normalized", lambda: normalized_squares([image], side, device, dtype))
    found = square_on_device(image, side, device).permute(1, 2, 0).cpu().numpy()
    bench.say("pixels unlike PIL's:", int((found != resize_bicubic(image, side)).sum()))
    bench.cost("the published trigger's look, on the CPU", lambda: hue_saturation_histogram(image))


def encoder(bench: Bench, network: Sam2Network) -> None:
    side = network.sizes.image_side
    pixels = bench.random(1, 3, side, side)
    for way in bench.ways:
        parts = NetworkParts(network, way)
        bench.cost(f"image encoder, {way}", lambda parts=parts: parts.encode_image(pixels))


def attention(bench: Bench, network: Sam2Network) -> None:
    sizes = network.sizes
    grid, width = sizes.grid, sizes.width
    coarse = bench.random(1, width, grid, grid)
    ways = {way: NetworkParts(network, way) for way in bench.ways}
    for maps, objects in ((7, 1), (22, 1), (22, 5)):
        tokens = maps * grid**2 + POINTERS * width // sizes.memory_width
        keys = bench.random(objects, tokens, sizes.memory_width)
        memory = MemoryTokens(keys, keys, maps * grid**2)
        images = torch.zeros(objects, dtype=torch.long, device=bench.device)
        for way, parts in ways.items():
            name = f"memory attention, {maps} maps, {objects} objects, {way}"
            bench.cost(name, lambda p=parts, m=memory, i=images: p.attend(coarse, m, i))
    if not bench.on_gpu:
        return
    query, keys = bench.random(1, 1, grid**2, width), bench.random(1, 1, 22 * grid**2, width)
    for kernel in KERNELS:
        with sdpa_kernel(kernel):
            bench.cost(
                f"  one attention to 22 maps by {kernel.name}",
                lambda: F.scaled_dot_product_attention(query, keys, keys),
            )


def heads(bench: Bench, network: Sam2Network) -> None:
    sizes = network.sizes
    grid, width, side = sizes.grid, sizes.width, sizes.image_side
    coarse = bench.random(1, width, grid, grid)
    fine = (
        bench.random(1, width // 8, 4 * grid, 4 * grid),
        bench.random(1, width // 4, 2 * grid, 2 * grid),
    )
    masks = torch.rand(1, 1, side, side, device=bench.device)
    visible = torch.ones(1, dtype=torch.bool, device=bench.device)
    prompts = network.no_prompt()
    for way in bench.ways:
        parts = NetworkParts(network, way)
        bench.cost(
            f"mask decoder, {way}",
            lambda p=parts: p.decode(coarse, fine, prompts, several=True),
        )
        bench.cost(f"memory encoder, {way}", lambda p=parts: p.remember(coarse, masks, visible))


def session(bench: Bench, network: Sam2Network) -> None:
    count = 90 if bench.on_gpu else 4
    for way in bench.ways:
        for objects, ahead in ((1, 0), (1, 2), (5, 2)):
            segmenter = Sam2Segmenter(network, Sam2Options(compiled=way))
            tracker = Tracker(segmenter, policy=ReliableMemory(slots=22, min_iou=0.0))
            name = f"session, {way}, {objects} objects, {ahead} frames ahead"
            try:
                bench.say(f"{name:54s}", times_of_frames(bench, tracker, objects, ahead, count))
            except Exception as error:
                bench.say(f"{name:54s} FAILED {type(error).__name__}: {str(error)[:160]}")


def times_of_frames(bench: Bench, tracker: Tracker, objects: int, ahead: int, count: int) -> str:
    running = tracker.session()
    boxes = {n + 1: Box(100 + 120 * n, 100, 260 + 120 * n, 400) for n in range(objects)}
    running.prompt(Frame(0, bench.video[0]), boxes)
    frames = [Frame(i, bench.video[i % len(bench.video)]) for i in range(1, count + 1)]
    times, began = [], time.perf_counter()
    for result in running.track(frames, prefetch=ahead):
        for object_id in result.object_ids:
            result.mask(object_id)
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    last = [1e3 * t for t in times[-count // 2 :]]
    return f"median {statistics.median(last):.1f}, from {min(last):.1f} to {max(last):.1f} ms"


def concept(bench: Bench, _: Sam2Network) -> None:
    size = TINY if bench.tiny else INTERNVL2_5_4B
    with torch.device("meta"):
        network = ConceptNetwork(size)
    network = network.to_empty(device=bench.device).eval().to(bench.dtype)
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.normal_(std=SPREAD) if tensor.is_floating_point() else tensor.zero_()
    pixels = bench.random(8, 3, 448, 448)
    for batch in (1, 2, 8):
        bench.cost(f"InternViT, {batch} images", lambda b=batch: network.encode_images(pixels[:b]))
    language = size.language
    head_width = language.width // language.heads
    for name, new, known in (
        ("cold, 7 keyframes", 2104, 0),
        ("unchanged, 7 keyframes", 288, 1816),
        ("joined, 6 known", 547, 1557),
        ("moved, 1 known of 7", 1842, 262),
    ):
        states = bench.random(language.key_value_heads, known, head_width)
        past = [(states, states)] * language.layers if known else []
        embeddings = bench.random(new, language.width)
        bench.cost(
            f"language model, {name}",
            lambda e=embeddings, n=new, p=past: network.read(e, PackedRows([n], [p], [0])),
        )


SECTIONS = {
    section.__name__: section for section in (host, encoder, attention, heads, session, concept)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="networks for a CPU")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--ways", default=",".join(WAYS), help="of running a network")
    options = parser.parse_args()
    ways = [way for way in WAYS if way in options.ways.split(",")]
    bench = Bench(torch.device(options.device), ways, tiny=options.tiny)
    name = torch.cuda.get_device_name() if bench.on_gpu else "CPU"
    bench.say(name, f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with torch.inference_mode():
        network = network_of(bench)
        for section in options.only.split(","):
            SECTIONS[section](bench, network)
    bench.say("done")


if __name__ == "__main__":
    main()
