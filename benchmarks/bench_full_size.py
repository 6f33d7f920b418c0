"""Full-size networks with random weights: do they start, how fast are they, what do they need?

    python benchmarks/bench_full_size.py                                   # a GPU, SeC-4B
    python benchmarks/bench_full_size.py --objects 5 --compile graphs
    python benchmarks/bench_full_size.py --recipe sam2_large
    python benchmarks/bench_full_size.py --device cpu --frames 3 --warm-up 0    # minutes a frame

SAM 2.1-large with SeC's 22 memories and InternVL2.5-4B, loaded by the same code as a checkpoint
(time does not depend on what the weights are, so no file is needed), or SAM 2.1-large alone, track
objects through noise of 854x480 that is made beforehand. The concept encoder is queried on 7.4 % of
the frames, as the paper counts them on SeCVOS, and at least once; one more query comes before the
clock starts. The published trigger sees every frame. The objects are made to be visible all the
time, so that the memory and the keyframe bank are as full as they can be. Frames are read and
encoded ahead as in `segment-concept track`, unless `--no-look-ahead` is given.

The paper has 14.8 frames/s on one A800. A stage's time is what the device spent between its start
and its end, which with look-ahead includes other work on it.
"""

import argparse
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from random_weights import RandomWeights
from torch import nn

from segment_concept import Box
from segment_concept.checkpoints.load import find_device
from segment_concept.checkpoints.memory_estimate import SecPlacement, SecSizes
from segment_concept.checkpoints.sec.config import FORMAT
from segment_concept.checkpoints.sec.files import SecFiles
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.checkpoints.sec.load import SecCheckpoint, SecModel, load_sec
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B, with_vocabulary
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.parts import Compiled
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.models.sam2.sizes import SEC_4B, SIZES
from segment_concept.pipeline.playback import PREFETCH
from segment_concept.recipes import find_recipe
from segment_concept.tracking.concept import ConceptEncoder, ConceptRequest
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import AnyOf, AtFrames
from segment_concept.tracking.triggers.scene_change import HistogramShift
from segment_concept.types import Frame

TOKENIZER = Path(__file__).parents[1] / "tests" / "fixtures" / "parity" / "sec_tokenizer"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
VIDEO = (480, 854)  # height, width
TRIGGER_RATE = 0.074  # of the frames, SeC's paper on SeCVOS
NEVER_BY_COLOR = HistogramShift(above=1.0)  # looks as published; a distance is at most 1
VISIBLE = 5.0  # presence logit
IMAGES = 8  # of noise
GIB = 1 << 30
CONCEPT, FUSION = "concept", "concept fusion"
STAGES = {  # of the segmenter, by the part of its network that does it
    "image encoding": "vision_encoder",
    "memory attention": "memory_attention",
    FUSION: "token_attn",
    "decode": "mask_decoder",
    "memory encoding": "memory_encoder",
}


class Stopwatch:
    """Seconds of every stage, by the device's own clock, so that nothing is waited for."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._began: dict[str, Any] = {}
        self._spans: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def start(self, stage: str) -> None:
        self._began[stage] = self._now()

    def stop(self, stage: str) -> None:
        self._spans[stage].append((self._began.pop(stage), self._now()))

    def watch(self, module: nn.Module, stage: str) -> None:
        """Time every call of a module."""
        module.register_forward_pre_hook(lambda *_: self.start(stage))
        module.register_forward_hook(lambda *_: self.stop(stage))

    def clear(self) -> None:
        self._spans.clear()

    def seconds(self) -> dict[str, list[float]]:
        """Of every call of every stage."""
        if self._on_gpu:
            torch.cuda.synchronize()
            return {k: [a.elapsed_time(b) / 1e3 for a, b in v] for k, v in self._spans.items()}
        return {k: [b - a for a, b in v] for k, v in self._spans.items()}

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class Watched:
    """A concept encoder whose queries are timed."""

    def __init__(self, encoder: ConceptEncoder, stopwatch: Stopwatch) -> None:
        self._encoder, self._stopwatch = encoder, stopwatch

    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features[Any]
    ) -> Sequence[Concept | None]:
        self._stopwatch.start(CONCEPT)
        concepts = self._encoder.encode(requests, query, features)
        self._stopwatch.stop(CONCEPT)
        return concepts


def random_sec(placement: SecPlacement) -> SecModel:
    """SeC-4B's shapes; no weight exists before it is read, nor twice."""
    size = with_vocabulary(INTERNVL2_5_4B, INTERNVL2_5_4B.language.vocabulary + 1)  # and [SEG]
    with torch.device("meta"):
        segmenter, concept = Sam2Network(SEC_4B), ConceptNetwork(size)
    checkpoint = SecCheckpoint(
        SecFiles((), {"format": FORMAT}, TOKENIZER),
        RandomWeights.of(segmenter, placement.dtype, placement.segmenter),
        RandomWeights.of(concept, placement.concept.dtype, placement.concept.language),
        SEC_4B,
        size,
    )
    bulk = SecSizes.of(checkpoint.segmenter.shapes, checkpoint.concept.shapes, SEC_4B, size)
    for device in sorted({placement.segmenter, placement.concept.language}):
        print(f"estimated for {device}: {bulk.bytes_on(device, placement) / GIB:.1f} GiB")
    model = load_sec(checkpoint, placement)
    make_visible(model.segmenter.network)
    return model


def random_sam2(device: torch.device, dtype: torch.dtype, options: Sam2Options) -> Sam2Segmenter:
    """SAM 2.1-large's shapes."""
    with torch.device("meta"):
        network = Sam2Network(SIZES["large"])
    weights = RandomWeights.of(network, dtype, str(device))
    network.load_state_dict({name: weights.read(name) for name in weights.shapes}, assign=True)
    return Sam2Segmenter(make_visible(network.eval().requires_grad_(False)), options)


def make_visible(network: Any) -> Any:
    """The network, which now says of every object that it is visible."""
    network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(VISIBLE)
    return network


def noise(count: int) -> list[Frame]:
    """Frames that share a few images, so that many of them take little memory."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*VIDEO, 3), dtype=np.uint8) for _ in range(IMAGES)]
    return [Frame(index, images[index % IMAGES]) for index in range(count)]


def queried_on(first: int, frames: int) -> frozenset[int]:
    """Frames, evenly spread over those that are measured."""
    calls = max(1, round(TRIGGER_RATE * frames))
    return frozenset(first + int((i + 0.5) * frames / calls) for i in range(calls))


@dataclass(frozen=True)
class Run:
    """What a run measured: the session at its end, and the wall seconds of every frame."""

    session: Session
    seconds: list[float]
    queried: list[bool]

    def plain(self) -> float:
        """Median seconds of a frame without a query."""
        return statistics.median(
            s for s, queried in zip(self.seconds, self.queried, strict=True) if not queried
        )

    def with_query(self) -> list[float]:
        """Seconds of every frame with a query."""
        return [s for s, queried in zip(self.seconds, self.queried, strict=True) if queried]


def run(tracker: Tracker, stopwatch: Stopwatch, options: argparse.Namespace) -> Run:
    """Track, and take the time of every frame after the warm-up."""
    session = tracker.session()
    video = noise(1 + options.warm_up + options.frames)
    boxes = {n + 1: Box(100 + 120 * n, 100, 260 + 120 * n, 400) for n in range(options.objects)}
    session.prompt(video[0], boxes)
    seconds, queried = [], []
    ahead = 0 if options.no_look_ahead else PREFETCH
    began = time.perf_counter()
    for result in session.track(video[1:], prefetch=ahead):
        for object_id in result.object_ids:
            result.mask(object_id)  # a user waits for it
        now = time.perf_counter()
        if result.frame_index > options.warm_up:
            seconds.append(now - began)
            queried.append(result.concept_queried)
        elif result.frame_index == options.warm_up:
            stopwatch.clear()
        began = now
    return Run(session, seconds, queried)


def report(stages: dict[str, list[float]], found: Run) -> None:
    frames = len(found.seconds)
    print("\n| stage | calls | median ms a call | ms a frame |\n| --- | --- | --- | --- |")
    for stage, calls in stages.items():
        print(f"| {stage} | {len(calls)} | {1e3 * statistics.median(calls):.1f} | "
              f"{1e3 * sum(calls) / frames:.1f} |")  # fmt: skip
    wall, queries = sum(found.seconds), found.with_query()
    print(f"\nas run, {len(queries)} of {frames} frames with a query: {frames / wall:.3g} frames/s")
    usual = found.plain()
    print(f"never queried: {1 / usual:.3g} frames/s (median {1e3 * usual:.1f} ms a frame)")
    if queries:
        extra = statistics.median(queries) - usual
        each = ", ".join(f"{1e3 * (s - usual):.0f}" for s in queries)
        print(f"at a trigger rate of {TRIGGER_RATE:.1%}: "
              f"{1 / (usual + TRIGGER_RATE * extra):.3g} frames/s; "
              f"ms that each query added: {each}")  # fmt: skip


def make_tracker(
    options: argparse.Namespace, device: torch.device, stopwatch: Stopwatch
) -> Tracker:
    dtype = DTYPES[options.dtype]
    settings = Sam2Options(compiled=options.compile)
    recipe = find_recipe(options.recipe)
    if recipe.network == "sam2":
        segmenter = random_sam2(device, dtype, settings)
        tracker = Tracker(segmenter, policy=recipe.policy)
    else:
        language = options.language_device or str(device)
        placement = SecPlacement(str(device), dtype, Placement(str(device), language, dtype))
        model = random_sec(placement)
        segmenter = model.segmenter.with_options(settings)
        before = frozenset({max(1, options.warm_up)})
        asked = AtFrames(before | queried_on(1 + options.warm_up, options.frames))
        tracker = Tracker(
            segmenter,
            policy=recipe.policy,
            trigger=AnyOf((asked, NEVER_BY_COLOR)),
            concept=Watched(model.concept_encoder(), stopwatch),
            keyframes=recipe.keyframes,
        )
    for stage, name in STAGES.items():
        part = getattr(segmenter.network, name)
        if part is not None and options.compile == "no":  # compiled parts do not call it
            stopwatch.watch(part, stage)
    return tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--language-device", help="of the language model, if another")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--frames", type=int, default=300, help="to measure")
    parser.add_argument("--warm-up", type=int, default=30, help="frames tracked before")
    parser.add_argument("--recipe", default="sec_4b", choices=("sec_4b", "sam2_large"))
    parser.add_argument("--objects", type=int, default=1, choices=range(1, 6))
    parser.add_argument("--compile", default="no", choices=get_args(Compiled))
    parser.add_argument("--no-look-ahead", action="store_true")
    options = parser.parse_args()
    device = find_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(f"{options.recipe} on {name}, {options.dtype}, objects {options.objects}, compile "
          f"{options.compile}, torch {torch.__version__}, {torch.get_num_threads()} threads",
          flush=True)  # fmt: skip
    began = time.perf_counter()
    stopwatch = Stopwatch(device)
    tracker = make_tracker(options, device, stopwatch)
    print(f"loaded in {time.perf_counter() - began:.0f} s", flush=True)
    found = run(tracker, stopwatch, options)
    report(stopwatch.seconds(), found)
    bank = found.session.tracks[1][0].bank
    print(f"at the end: {len(bank.prompted) + len(bank.tracked)} memories, "
          f"{len(found.session.banks[1].keyframes)} keyframes")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"peak memory of the process: {peak:.1f} GiB")
    if device.type == "cuda":
        print(f"peak memory on {device}: {torch.cuda.max_memory_allocated(device) / GIB:.1f} GiB")


if __name__ == "__main__":
    main()
