"""How videos are scored: windows, matching, processes, and the choice of protocol."""

import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fixtures import unpacked
from helpers.scoring_goldens import by_name, scored
from segment_concept.datasets.open import open_dataset
from segment_concept.datasets.types import Benchmark, Source
from segment_concept.evaluate.pairing import VideoTask
from segment_concept.evaluate.protocols.appearance import ScoringWindow
from segment_concept.evaluate.protocols.matching import best_matching
from segment_concept.evaluate.protocols.mose import absent_runs, returned_runs
from segment_concept.evaluate.protocols.registry import OWN, ProtocolName, RuleOptions, rules_for
from segment_concept.evaluate.protocols.vos_benchmark import VosBenchmark
from segment_concept.evaluate.scores import VideoScores
from segment_concept.evaluate.scoring import ScoringError, Work, score_dataset

STRAY = unpacked("quirks") / "late-object-early-fp"


def test_a_prediction_before_the_object_is_there_opens_its_window_with_a_warning() -> None:
    scores = scored(ProtocolName.VOS_BENCHMARK, Source(STRAY / "gt"), STRAY / "pred")
    (remark,) = (f for f in scores.findings if f.object_name == "2")
    assert "starts its scoring window early" in remark.message
    assert "use --window truth" in remark.message
    assert remark.frame == "00002"


@pytest.mark.parametrize(
    ("window", "frames"),
    [(ScoringWindow.SIGHT, 5), (ScoringWindow.TRUTH, 3), (ScoringWindow.ALL, 6)],
)
def test_the_window_decides_which_frames_count(window: ScoringWindow, frames: int) -> None:
    options = RuleOptions(window=window)
    scores = scored(
        ProtocolName.VOS_BENCHMARK, Source(STRAY / "gt"), STRAY / "pred", options=options
    )
    late = by_name(scores.objects)["v_2"]
    assert len(late.frames) == len(late.curves["J"]) == frames
    assert bool(scores.findings) is (window is ScoringWindow.SIGHT)


def test_closing_the_window_undoes_what_a_stray_pixel_gains(tmp_path: Path) -> None:
    """An object appears at frame 8 of 10 and is missed; one pixel is predicted at frame 1."""
    from PIL import Image

    for i in range(10):
        true, predicted = np.zeros((2, 30, 30), np.uint8)
        true[5:15, 5:15] = i >= 7
        predicted[0, 0] = i == 1
        for kind, mask in (("gt", true), ("pred", predicted)):
            (tmp_path / kind / "v").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask, "L").save(tmp_path / kind / "v" / f"{i:05d}.png")
    published, closed = (
        scored(
            ProtocolName.VOS_BENCHMARK,
            Source(tmp_path / "gt"),
            tmp_path / "pred",
            options=RuleOptions(window=window),
        ).headline["J&F"]
        for window in (ScoringWindow.SIGHT, ScoringWindow.TRUTH)
    )
    assert closed == 0
    assert published == 5 / 8


def test_all_frames_count_as_davis_2017_counts_them() -> None:
    root = unpacked("davis")
    source = Source(root / "Annotations/480p")
    options = RuleOptions(window=ScoringWindow.ALL)
    ours = scored(ProtocolName.VOS_BENCHMARK, source, root / "preds", options=options)
    davis = by_name(scored(ProtocolName.DAVIS2017, source, root / "preds").objects)
    for name, score in by_name(ours.objects).items():
        assert score.values["J"] == pytest.approx(davis[name].values["J"], abs=1e-12)


def test_processes_change_no_result_and_no_order() -> None:
    root = unpacked("davis")
    one, two = (
        scored(
            ProtocolName.DAVIS2017,
            Source(root),
            root / "preds",
            benchmark=Benchmark.DAVIS2017,
            work=Work(processes=processes),
        )
        for processes in (1, 2)
    )
    assert one == two


class Dying(VosBenchmark):
    """A protocol whose process is killed, as for lack of memory."""

    def score(self, task: VideoTask) -> VideoScores:
        os._exit(9)


def test_a_dead_process_is_reported_and_nothing_waits_for_it() -> None:
    root = unpacked("davis16")
    dataset = open_dataset(Benchmark.FOLDER, Source(root / "gt"))
    with pytest.raises(ScoringError, match="a scoring process died"):
        score_dataset(dataset, root / "preds", Dying(), Work(processes=2))


def test_progress_counts_every_video() -> None:
    root = unpacked("davis16")
    seen: list[tuple[int, int]] = []
    work = Work(progress=lambda done, total: seen.append((done, total)))
    scored(ProtocolName.VOS_BENCHMARK, Source(root / "gt"), root / "preds", work=work)
    assert seen == [(1, 2), (2, 2)]


def test_every_benchmark_has_a_protocol_and_every_protocol_its_name() -> None:
    assert set(OWN) == set(Benchmark)
    assert {rules_for(Benchmark.FOLDER, name).name for name in ProtocolName} == {
        name.value for name in ProtocolName
    }


def test_another_protocol_may_be_named() -> None:
    assert rules_for(Benchmark.DAVIS2017).name == "davis2017"
    assert rules_for(Benchmark.DAVIS2017, ProtocolName.SA_V).name == "sav"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_the_matching_is_the_best_of_all(rows: int, columns: int, seed: int, coarse: bool) -> None:
    gain = np.random.default_rng(seed).random((rows, columns))
    gain = np.round(gain * 3) / 3 if coarse else gain  # with ties
    pairs = best_matching(gain)
    assert len(pairs) == min(rows, columns)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    square = np.zeros((max(rows, columns),) * 2)
    square[:rows, :columns] = gain
    every = permutations(range(len(square)))
    best = max(sum(square[i, j] for i, j in enumerate(order)) for order in every)
    assert sum(gain[pair] for pair in pairs) == pytest.approx(best)


@pytest.mark.parametrize(
    ("empty", "gone", "back"),
    [
        ("....", [], []),
        ("xx..", [], [(2, 4)]),  # a late first appearance counts as coming back
        (".xx.", [(1, 3)], [(3, 4)]),
        ("x.x.", [(2, 3)], [(1, 2), (3, 4)]),
        ("..xx", [(2, 4)], []),
        ("xxxx", [], []),
        ("", [], []),
    ],
)
def test_absences_and_returns_of_mose_v2(
    empty: str, gone: list[tuple[int, int]], back: list[tuple[int, int]]
) -> None:
    absent = [letter == "x" for letter in empty]
    assert absent_runs(absent) == gone
    assert returned_runs(absent) == back
