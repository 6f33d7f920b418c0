"""What a GPU is asked to do for a frame, counted without one: `benchmarks/pretend_gpu.py`.

The numbers are bounds that speed depends on. A change that needs more kernels or waits than this
should have a reason, and `docs/LOG.md` should say what it costs.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bench_waits import concept_of, count_step, frame, segmenter_of, session_of
from pretend_gpu import DEVICE, counting

from segment_concept.models.internvl.sizes import TINY
from segment_concept.models.sam2.sizes import SEC_4B, SIZES

FRAMES = 3  # tracked before; counts do not depend on how full the memory is
OBJECTS = (1, 5)


@pytest.fixture(scope="module")
def segmenter():
    return segmenter_of(SEC_4B)


@pytest.fixture(scope="module")
def plain(segmenter):
    """Counts of a frame at full size, by the number of objects."""
    sessions = {n: session_of(segmenter, None, objects=n, frames=FRAMES) for n in OBJECTS}
    return {n: count_step(session, FRAMES + 1) for n, session in sessions.items()}


@pytest.mark.parametrize("objects", OBJECTS)
def test_a_plain_frame_waits_twice_for_scores_and_for_masks(plain, objects):
    waits = plain[objects].waits
    assert waits.total() <= 2, list(plain[objects].lines())


@pytest.mark.parametrize("objects", OBJECTS)
def test_a_plain_frame_is_at_most_a_thousand_kernels(plain, objects):
    kernels = plain[objects].kernels
    assert kernels.total() <= 1000, list(plain[objects].lines())
    assert kernels["vision_encoder"] <= 600


@pytest.mark.parametrize("objects", OBJECTS)
def test_masks_leave_the_device_as_bits(plain, objects):
    read = plain[objects].bytes_read
    height, width = frame(0).size
    assert read <= objects * height * width // 8 + 1000


def test_images_reach_the_device_as_bytes(plain):
    height, width = frame(0).size
    assert plain[1].uploads.total() <= 3 * height * width + 10_000


@pytest.mark.parametrize("objects", OBJECTS)
def test_a_frame_with_a_query_waits_at_most_four_times(objects):
    query = FRAMES + 1
    small = replace(SIZES["tiny"], image_side=128, concept_layers=1)
    segmenter = segmenter_of(small)
    concept = concept_of(TINY, width=small.width)
    session = session_of(
        segmenter, concept, objects=objects, frames=FRAMES, query_on=frozenset({2, query})
    )
    counts = count_step(session, query)
    assert 2 < counts.waits.total() <= 4, list(counts.lines())


def test_every_kind_of_wait_is_counted():
    values = torch.zeros(4, device=DEVICE)
    with counting() as counts:
        values.tolist()
        values.cpu()
        values.to("cpu")
        float(values[0])
        bool(values[1] > 0)
        torch.tensor([1.0, 2.0], device=DEVICE)
        values.new_tensor([1.0])
        torch.from_numpy(np.zeros(3)).to(DEVICE)
    assert counts.waits.total() == 8


def test_what_needs_no_wait_is_not_counted():
    values = torch.zeros(2, 4, device=DEVICE)
    with counting() as counts:
        torch.from_numpy(np.zeros(3)).to(DEVICE, non_blocking=True)
        (values.T + torch.arange(4, device=DEVICE)[:, None]).sum().half()
    assert counts.waits.total() == 0
    assert counts.kernels.total() == 4  # arange, add, sum, cast
    assert counts.uploads.total() == 24
