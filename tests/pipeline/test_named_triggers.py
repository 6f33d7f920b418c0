"""Triggers by name, some of them made for one video."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from segment_concept.checkpoints import transnet
from segment_concept.pipeline import triggers as named_triggers
from segment_concept.pipeline.triggers import NAMES, TriggerSpec, prepare_trigger
from segment_concept.shots import transnet as learned_shots
from segment_concept.tracking.triggers.base import AnyOf, AtFrames, Cooldown, Never
from segment_concept.tracking.triggers.scene_change import AdaptiveContent, fast_hsv, published_hsv
from segment_concept.tracking.triggers.uncertainty import Uncertain
from segment_concept.types import Frame, InputError
from segment_concept.video.source import VideoInfo

INFO = VideoInfo((27, 48), Fraction(25), Fraction(1, 25), frames=90)


@dataclass
class Film:
    """Black up to frame 40, white from there on."""

    name: str = "film.mp4"
    info: VideoInfo = field(default_factory=lambda: INFO)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for index in range(start, 90):
            shade = 255 * (index >= 40)
            yield Frame(index, torch.full((27, 48, 3), shade, dtype=torch.uint8).numpy())


def steps(pictures, network) -> Iterator[float]:
    """A shot ends on frame 39."""
    for index, _ in enumerate(pictures):
        yield float(index == 39)


@pytest.fixture
def _learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transnet, "load_transnet", lambda device: None)
    monkeypatch.setattr(transnet, "transnet_file", lambda: Path("weights.pth"))
    monkeypatch.setattr(learned_shots, "ends_of_shots", steps)


def made(*names: str, **more) -> object:
    return prepare_trigger(TriggerSpec(names, **more), Film()).make()  # type: ignore[arg-type]


def test_names_stand_for_triggers() -> None:
    assert made("published") == published_hsv()
    assert made("fast") == fast_hsv()
    assert made("adaptive") == AdaptiveContent()
    assert made("never") == Never()
    assert made("uncertain") == Cooldown(Uncertain(), 12)


def test_several_names_mean_any_of_them_once() -> None:
    assert made("fast", "adaptive", "fast") == AnyOf((fast_hsv(), AdaptiveContent()))


def test_a_cooldown_goes_around_all_of_them() -> None:
    assert made("fast", "adaptive", cooldown=9) == Cooldown(
        AnyOf((fast_hsv(), AdaptiveContent())), 9
    )


def test_a_cut_list_needs_no_name(tmp_path: Path) -> None:
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("12 40")
    at_cuts = AtFrames(frozenset({12, 40}))
    assert made(cuts=cuts) == made("cuts", cuts=cuts) == at_cuts
    assert made("fast", cuts=cuts) == AnyOf((fast_hsv(), at_cuts))


@pytest.mark.usefixtures("_learned")
def test_the_learned_detector_reads_the_video_first_and_reports_progress() -> None:
    told: list[tuple[int, int | None]] = []
    prepared = prepare_trigger(TriggerSpec(("transnet",)), Film())  # type: ignore[arg-type]
    trigger = prepared.make(lambda *n: told.append(n))
    assert trigger == AtFrames(frozenset({40}))
    assert (told[0], told[-1], len(told)) == ((1, 90), (90, 90), 90)


@pytest.mark.usefixtures("_learned")
def test_a_live_source_cannot_be_read_ahead() -> None:
    camera = Film("camera 0", replace(INFO, live=True))
    with pytest.raises(InputError, match=r"camera 0 is a live .* use the trigger `adaptive`"):
        prepare_trigger(TriggerSpec(("transnet",)), camera)  # type: ignore[arg-type]


def test_missing_files_are_found_before_slow_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transnet, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="segment-concept"):
        prepare_trigger(TriggerSpec(("transnet",)), Film())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is no cut list"):
        prepare_trigger(TriggerSpec(cuts=tmp_path / "none"), Film())  # type: ignore[arg-type]
    prepare_trigger(TriggerSpec(("adaptive",)), Film())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        (("fastest",), {}, f"no trigger 'fastest': expected some of {', '.join(NAMES)}"),
        (("cuts",), {}, "needs a cut list"),
        (("never", "fast"), {}, "cannot be combined"),
        (("never",), {"cooldown": 3}, "cannot be combined"),
        (("fast",), {"cooldown": -1}, "-1: expected 0 frames or more"),
        ((), {"cooldown": 3}, "name one with --trigger or --cuts"),
    ],
)
def test_meaningless_settings_are_refused(names, more, said) -> None:
    with pytest.raises(InputError, match=said):
        TriggerSpec(names, **more)


def test_no_name_is_no_trigger() -> None:
    with pytest.raises(InputError, match="no trigger is named"):
        made()


def test_the_names_are_those_of_the_help() -> None:
    from segment_concept.cli.trigger_options import TriggerNames

    said = TriggerNames.__metadata__[0].help
    assert sorted(said.partition(": ")[2].strip(".").split(", ")) == sorted(NAMES)
    assert set(named_triggers.ANYWHERE) < set(NAMES)
