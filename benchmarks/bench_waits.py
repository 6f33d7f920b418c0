"""Kernels, bytes and waits of a frame at full size, counted without a GPU.

    python benchmarks/bench_waits.py                        # SeC-4B, 854x480, one object and five
    python benchmarks/bench_waits.py --size tiny --objects 1 --without-concept

What a GPU would be asked to do is counted on torch's `meta` device (`pretend_gpu.py`), for a frame
without and one with a query to the concept encoder, after so many frames that the memory is full.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretend_gpu import DEVICE, Counts, counting, pretending
from torch import nn

from segment_concept import Mask
from segment_concept.checkpoints.sec.internvl import load_tokenizer
from segment_concept.models.internvl.encoder import InternVLConceptEncoder
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B, ConceptSize, with_vocabulary
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.models.sam2.sizes import SEC_4B, SIZES, Sam2Sizes
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Session
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import AtFrames, Never
from segment_concept.types import Frame, ObjectId

TOKENIZER = Path(__file__).parents[1] / "tests" / "fixtures" / "parity" / "sec_tokenizer"
VIDEO = (480, 854)  # height, width
PARTS = ("vision_encoder", "memory_attention", "mask_decoder", "memory_encoder", "prompt_encoder")


def on_pretend_gpu(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """The network of which only shapes exist, ready for inference."""
    return network.eval().to(dtype).requires_grad_(False)


def segmenter_of(sizes: Sam2Sizes) -> Sam2Segmenter:
    """With weights on the pretended GPU."""
    with DEVICE:
        network = Sam2Network(sizes)
    return Sam2Segmenter(on_pretend_gpu(network))  # type: ignore[arg-type]


def concept_of(size: ConceptSize, width: int = 256) -> InternVLConceptEncoder:
    """The same for the concept encoder, with concepts of `width` channels."""
    tokenizer: Any = load_tokenizer(TOKENIZER)
    vocabulary = INTERNVL2_5_4B.language.vocabulary + 1  # and [SEG]
    size = replace(with_vocabulary(size, vocabulary), concept_width=width)
    with DEVICE:
        network = ConceptNetwork(size)
    return InternVLConceptEncoder(on_pretend_gpu(network), tokenizer)  # type: ignore[arg-type]


def session_of(
    segmenter: Sam2Segmenter,
    concept: InternVLConceptEncoder | None,
    *,
    objects: int,
    frames: int,
    query_on: frozenset[int] = frozenset(),
) -> Session:
    """A session in which `frames` frames of 854x480 were tracked; any frame may query next."""
    trigger = AtFrames(query_on) if concept else Never()
    policy = ReliableMemory(slots=segmenter.slots)
    tracker = Tracker(segmenter, policy=policy, trigger=trigger, concept=concept)
    session = tracker.session()
    with pretending():
        masks = {ObjectId(n + 1): a_mask(n) for n in range(objects)}
        session.prompt(frame(0), masks)
        for index in range(1, frames + 1):
            session.step(frame(index))
    return session


def frame(index: int) -> Frame:
    return Frame(index, np.zeros((*VIDEO, 3), np.uint8))


def a_mask(number: int) -> Mask:
    bitmap = np.zeros(VIDEO, np.bool_)
    bitmap[10:100, 50 * number + 10 : 50 * number + 100] = True
    return Mask(bitmap)


def count_step(session: Session, index: int) -> Counts:
    """Of one frame, until every object's mask is in host memory."""
    segmenter = session.tracker.segmenter
    stages: dict[str, nn.Module] = {}
    if isinstance(segmenter, Sam2Segmenter):
        stages = {name: segmenter.network.get_submodule(name) for name in PARTS}
    with counting(stages) as counts:
        result = session.step(frame(index))
        for object_id in result.object_ids:
            result.mask(object_id)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="sec", choices=("sec", *SIZES))
    parser.add_argument("--objects", default="1,5")
    parser.add_argument("--frames", type=int, default=24, help="tracked before the counted one")
    parser.add_argument("--without-concept", action="store_true")
    options = parser.parse_args()
    sizes = SEC_4B if options.size == "sec" else replace(SIZES[options.size], concept_layers=4)
    segmenter = segmenter_of(sizes)
    concept = None if options.without_concept else concept_of(INTERNVL2_5_4B)
    for objects in map(int, options.objects.split(",")):
        plain, asked = options.frames + 1, options.frames + 3
        at = frozenset({asked - 4, asked})
        session = session_of(
            segmenter, concept, objects=objects, frames=options.frames, query_on=at
        )
        show(f"{objects} objects, plain frame", count_step(session, plain))
        if concept is not None:
            with pretending():
                session.step(frame(plain + 1))
            show(f"{objects} objects, frame with a query", count_step(session, asked))


def show(title: str, counts: Counts) -> None:
    print(f"{title}:", *counts.lines(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
