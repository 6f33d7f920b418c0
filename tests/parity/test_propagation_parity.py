"""Cutie and XMem against official code with the same weights; see `weight_recipe`.

References: probabilities of every second pixel (float16), every frame's labels, the number of
memory tokens after every frame, and the state after the last remembered one. Two float formats
or two versions of torch differ by less than 1e-5; the tolerance is for the storage in float16.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from helpers.fixtures import facts, fixture
from helpers.weight_recipe import Checksum, Recipe, checksum
from segment_concept.baselines.cutie.network import CutieNetwork, CutieSize
from segment_concept.baselines.propagation import BetweenMemories, Settings, Staggered, State
from segment_concept.baselines.resize import AsItIs
from segment_concept.baselines.retention import (
    AboveLeastUsed,
    KeepEverything,
    LongTerm,
    MostUsed,
    NewestFrames,
    RetentionPolicy,
)
from segment_concept.baselines.session import PropagationTracker, cutie_tracker, xmem_tracker
from segment_concept.baselines.xmem.network import XMemNetwork, XMemSize
from segment_concept.types import Frame, Mask, ObjectId

PROBABILITY_TOLERANCE = 2e-3
CUTIE = ("cutie_fifo_2obj", "cutie_longterm_late_2obj")
XMEM = ("xmem_longterm_2obj", "xmem_worklate_2obj")
TRAINING_ONLY = "aux_computer."

all_references = pytest.mark.parametrize("run", [*CUTIE, *XMEM], indirect=True)
cutie_references = pytest.mark.parametrize("run", CUTIE, indirect=True)
references_with_prototypes = pytest.mark.parametrize("run", XMEM[:1], indirect=True)


@dataclass
class Run:
    """One reference, and what a session made of its video."""

    options: dict[str, Any]
    records: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    states: list[State] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)

    @property
    def before_last(self) -> State:
        """The reference remembers nothing of the last frame, because none will follow it."""
        return self.states[-2]


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = facts(f"trackers/{name}")
    return content


def recipe(reference: dict[str, Any]) -> Recipe:
    options = reference["options"]
    return Recipe(options["seed"], options["overrides"], reference.get("kept", ()))


def long_term(options: dict[str, Any]) -> RetentionPolicy:
    """The long-term options of either network; XMem calls the same things by other names."""
    names = {
        "max_mem_frames": "max_mid_term_frames",
        "min_mem_frames": "min_mid_term_frames",
        "max_num_tokens": "max_long_term_elements",
    }
    value = {new: options.get(new, options.get(old)) for new, old in names.items()}
    spare = options.get("buffer_tokens")
    return LongTerm(
        AboveLeastUsed() if spare is None else MostUsed(spare),
        max_frames=value["max_mem_frames"],
        min_frames=value["min_mem_frames"],
        prototypes=options["num_prototypes"],
        max_tokens=value["max_num_tokens"],
    )


def cutie(reference: dict[str, Any]) -> PropagationTracker:
    network = CutieNetwork(CutieSize())
    network.load_state_dict(recipe(reference).weights(network.state_dict()))
    config = reference["options"]["cfg"]
    retention = (
        long_term(config["long_term"])
        if config["use_long_term"]
        else NewestFrames(config["max_mem_frames"])
    )
    schedule = Staggered(config["stagger_updates"])
    return cutie_tracker(network, Settings(retention, schedule, AsItIs(), config["mem_every"]))


def xmem(reference: dict[str, Any]) -> PropagationTracker:
    network = XMemNetwork(XMemSize())
    network.load_state_dict(recipe(reference).weights(network.state_dict()))
    config = reference["options"]["config"]
    retention = long_term(config) if config["enable_long_term"] else KeepEverything()
    return xmem_tracker(
        network, Settings(retention, BetweenMemories(), AsItIs(), config["mem_every"])
    )


@cache
def play(name: str) -> Run:
    """The reference's video, prompted as it was there: a late object comes with its own mask."""
    reference = read(name)
    run = Run(
        reference["options"],
        reference["per_frame"],
        load_file(fixture(f"trackers/{name}.safetensors")),
    )
    tracker = cutie(reference) if name.startswith("cutie") else xmem(reference)
    session = tracker.session()
    late = run.options["late"]
    shown = {0: (1, 2)} if late is None else {0: (1,), late: (2,)}
    for index, rgb in enumerate(run.arrays["frames_u8"]):
        frame, truth = Frame(index, rgb), run.arrays["labels_u8"][index]
        if index in shown:
            session.prompt(frame, {ObjectId(i): Mask(truth == i) for i in shown[index]})
        run.labels.append(session.step(frame).label_map())
        run.states.append(session.state)
        run.probabilities.append(session.fit.scores(session.current.probabilities).numpy())
    return run


@pytest.fixture
def run(request):
    """What was played of the reference that a test names."""
    return play(request.param)


@pytest.mark.parametrize("name", [*CUTIE, *XMEM])
def test_the_recipe_makes_the_weights_of_the_reference(name):
    reference = read(name)
    shapes = {k: torch.empty(s) for k, s in reference["keys"].items()}
    kept = CutieNetwork(CutieSize()).state_dict()  # holds what the recipe leaves alone
    shapes |= {k: kept[k] for k in shapes if k.endswith("inv_freq")}
    made = checksum(recipe(reference).weights(shapes))
    expected = Checksum(**reference["weight_checksum"])
    assert made.numel == expected.numel
    assert made.sum == pytest.approx(expected.sum, rel=1e-9)
    assert made.abs_sum == pytest.approx(expected.abs_sum, rel=1e-9)


@pytest.mark.parametrize(
    ("build", "name"),
    [(lambda: CutieNetwork(CutieSize()), CUTIE[0]), (lambda: XMemNetwork(XMemSize()), XMEM[0])],
    ids=["cutie", "xmem"],
)
def test_parameters_have_the_official_names_and_shapes(build, name):
    official = {k: s for k, s in read(name)["keys"].items() if not k.startswith(TRAINING_ONLY)}
    assert {k: list(v.shape) for k, v in build().state_dict().items()} == official


@all_references
def test_probabilities_are_those_of_the_official_code(run):
    expected = run.arrays["prob_f16_stride2"].astype(np.float32)
    for index, scores in enumerate(run.probabilities):
        rows = len(scores)
        worst = np.abs(scores[:, ::2, ::2] - expected[index, :rows]).max()
        assert worst <= PROBABILITY_TOLERANCE, f"frame {index}: {worst:.2e}"
        assert not expected[index, rows:].any(), "an object that was not shown yet has no score"


@all_references
def test_masks_are_those_of_the_official_code(run):
    for index, (labels, scores) in enumerate(zip(run.labels, run.probabilities, strict=True)):
        second, first = np.sort(scores, axis=0)[-2:]
        undecided = first - second <= 2 * PROBABILITY_TOLERANCE
        wrong = (labels != run.arrays["argmax_u8"][index]) & ~undecided
        assert not wrong.any(), f"frame {index}: {wrong.sum()} pixels"


def sizes(state: State) -> list[tuple[int, int]]:
    """Tokens of each group: working, with the permanent ones, and long-term."""
    parts = [g.parts for g in state.groups]
    return [(len(p.permanent) + len(p.working), len(p.long)) for p in parts]


def recorded_sizes(record: dict[str, Any]) -> list[tuple[int, int]]:
    work, long = record["work"], record["long"]
    if isinstance(work, dict):  # Cutie: one memory for each group
        return [(work[g], long.get(g, 0)) for g in sorted(work)]
    return [(work, long)]  # XMem: the memory of the group that was there from the start


@all_references
def test_memories_have_the_sizes_of_the_official_code(run):
    states = [*run.states[:-1], run.before_last]
    for state, record in zip(states, run.records, strict=True):
        expected = recorded_sizes(record)
        assert sizes(state)[: len(expected)] == expected, f"frame {record['t']}"


@all_references
def test_the_hidden_state_is_that_of_the_official_code(run):
    final = run.arrays.get("sensory_final_f16", run.arrays.get("hidden_final_f16"))
    expected = torch.from_numpy(final.astype(np.float32)).flatten(end_dim=-4)
    assert_close(run.before_last.recurrent.hidden, expected, 2e-3)


@cutie_references
def test_cutie_sums_up_objects_as_the_official_code(run):
    expected = torch.from_numpy(run.arrays["obj_v_final"])
    assert_close(run.before_last.recurrent.summaries, expected, 2e-3)


@references_with_prototypes
def test_xmem_keeps_the_prototypes_of_the_official_code(run):
    long = run.before_last.groups[0].parts.long
    assert_close(long.key, torch.from_numpy(run.arrays["long_key"][0]), 1e-4)
    assert_close(long.shrinkage, torch.from_numpy(run.arrays["long_shrinkage"][0, 0]), 1e-4)


def assert_close(value: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance)
