"""SeC-4B at full size with random weights: does it start, how fast is it, what does it need?

    python benchmarks/bench_full_size.py                                   # a GPU
    python benchmarks/bench_full_size.py --device cpu --frames 3 --warm-up 0    # minutes a frame

SAM 2.1-large with SeC's 22 memories and InternVL2.5-4B, loaded by the same code as a checkpoint
(time does not depend on what the weights are, so no file is needed), follow one object through
noise of 854x480. The concept is asked on 7.4 % of the frames, as the paper counts them on SeCVOS,
and at least once. Every frame is seen by the published trigger. The object is made to be visible
all the time, so that the memory and the keyframe bank are as full as they can be.

The paper has 14.8 frames/s on one A800. A stage's time is what the device spent between its start
and its end; what is left of a frame (resizing, trigger, recall) is "the rest".
"""

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from segment_concept.models.sam2.sizes import SEC_4B
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
NEVER_BY_COLOUR = HistogramShift(above=1.0)  # looks as published; a distance is at most 1
VISIBLE = 5.0  # presence logit
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
    head: Any = model.segmenter.network.mask_decoder.pred_obj_score_head
    head.proj_out.bias.fill_(VISIBLE)
    return model


def noise(count: int) -> Iterator[Frame]:
    generator = np.random.default_rng(0)
    for index in range(count):
        yield Frame(index, generator.integers(0, 256, (*VIDEO, 3), dtype=np.uint8))


def asked_on(first: int, frames: int) -> frozenset[int]:
    """Frames, evenly spread over those that are measured."""
    calls = max(1, round(TRIGGER_RATE * frames))
    return frozenset(first + int((i + 0.5) * frames / calls) for i in range(calls))


def run(tracker: Tracker, stopwatch: Stopwatch, warm_up: int, frames: int) -> tuple[Session, float]:
    """The session at its end, and the wall seconds of the frames after the warm-up."""
    session = tracker.session()
    video = noise(1 + warm_up + frames)
    session.prompt(next(video), {1: Box(200, 100, 500, 400)})
    for _ in range(warm_up):
        session.step(next(video))
    stopwatch.seconds()  # waits for the device
    stopwatch.clear()
    began = time.perf_counter()
    for result in session.track(video):
        result.mask(1)  # a user waits for it
    return session, time.perf_counter() - began


def report(seconds: dict[str, list[float]], wall: float, frames: int) -> None:
    spent = {stage: sum(calls) for stage, calls in seconds.items()}
    print("\n| stage | calls | seconds a call | seconds a frame |\n| --- | --- | --- | --- |")
    for stage, calls in seconds.items():
        print(f"| {stage} | {len(calls)} | {spent[stage] / len(calls):.4f} | "
              f"{spent[stage] / frames:.4f} |")  # fmt: skip
    rest = wall - sum(spent.values())
    print(f"| the rest | | | {rest / frames:.4f} |\n")
    queries = len(seconds[CONCEPT])
    asking = spent[CONCEPT] + spent[FUSION]
    plain = (wall - asking) / frames
    at_rate = plain + TRIGGER_RATE * asking / queries
    print(
        f"as run, the concept asked on {queries} of {frames} frames: {frames / wall:.3g} frames/s"
    )
    print(f"at a trigger rate of {TRIGGER_RATE:.1%}: {1 / at_rate:.3g} frames/s, "
          f"never asked: {1 / plain:.3g} frames/s")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--language-device", help="of the language model, if another")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--frames", type=int, default=300, help="to measure")
    parser.add_argument("--warm-up", type=int, default=30, help="frames tracked before")
    options = parser.parse_args()
    device = find_device(options.device)
    language, dtype = options.language_device or str(device), DTYPES[options.dtype]
    print(f"{device}, {options.dtype}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads", flush=True)  # fmt: skip
    began = time.perf_counter()
    placement = SecPlacement(str(device), dtype, Placement(str(device), language, dtype))
    model = random_sec(placement)
    print(f"loaded in {time.perf_counter() - began:.0f} s", flush=True)
    stopwatch = Stopwatch(device)
    for stage, name in STAGES.items():
        stopwatch.watch(model.segmenter.network.get_submodule(name), stage)
    recipe = find_recipe("sec_4b")
    asked = AtFrames(asked_on(1 + options.warm_up, options.frames))
    tracker = Tracker(
        model.segmenter,
        policy=recipe.policy,
        trigger=AnyOf((asked, NEVER_BY_COLOUR)),
        concept=Watched(model.concept_encoder(), stopwatch),
        keyframes=recipe.keyframes,
    )
    session, wall = run(tracker, stopwatch, options.warm_up, options.frames)
    report(stopwatch.seconds(), wall, options.frames)
    bank = session.tracks[1][0].bank
    print(f"at the end: {len(bank.prompted) + len(bank.tracked)} memories, "
          f"{len(session.banks[1].keyframes)} keyframes")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"peak memory of the process: {peak:.1f} GiB")
    if device.type == "cuda":
        print(f"peak memory on {device}: {torch.cuda.max_memory_allocated(device) / GIB:.1f} GiB")


if __name__ == "__main__":
    main()
