"""Every number of the official evaluators, reproduced within 1e-9."""

import math
from pathlib import Path
from typing import Any

import pytest

from helpers.fixtures import unpacked
from helpers.scoring_goldens import agree, assert_agree, by_name, golden, scored
from segment_concept.datasets.types import Benchmark, Group, Source
from segment_concept.evaluate.protocols.registry import ProtocolName, RuleOptions
from segment_concept.evaluate.scores import Scores
from segment_concept.evaluate.scoring import ScoringError
from segment_concept.types import InputError

DAVIS_KEYS = {
    "J": "J",
    "F": "F",
    "J_recall": "J recall",
    "J_decay": "J decay",
    "F_recall": "F recall",
    "F_decay": "F decay",
}
QUIRKS = sorted(folder.name for folder in unpacked("quirks").iterdir())
SAME_NAME_AS_TRUE = {"True": "1"}  # the official tools call the object of a 1-bit mask "True"

davis = golden("davis")
vosb = golden("vosb")
sav = golden("sav")


def assert_davis(ours: Scores, theirs: dict[str, Any]) -> None:
    objects = by_name(ours.objects)
    assert objects.keys() == theirs["per_object"].keys()
    for name, expected in theirs["per_object"].items():
        for key, value in expected.items():
            assert agree(objects[name].values[DAVIS_KEYS[key]], value), (name, key)
    headline = {DAVIS_KEYS.get(k, k): v for k, v in theirs["global"].items()}
    headline["J&F"] = headline.pop("JF")
    assert headline.pop("n_objects") == len(objects)
    assert_agree(ours.headline, headline)


def assert_by_sight(
    ours: Scores, video: str, theirs: dict[str, Any], part: str = "overall"
) -> None:
    """Objects (and frames, where given) of one video against vos-benchmark's kind of answer."""
    objects = {o.object_name: o for o in ours.objects if o.video == video and o.part == part}
    names = {SAME_NAME_AS_TRUE.get(name, name): name for name in theirs["J"]}
    assert objects.keys() == names.keys()
    for name, their_name in names.items():
        for measure in ("J", "F"):
            assert agree(objects[name].values[measure], theirs[measure][their_name], 100)
            if f"frames_{measure}" in theirs:
                curve = theirs[f"frames_{measure}"][their_name]
                assert len(curve) == len(objects[name].curves[measure])
                pairs = zip(objects[name].curves[measure], curve, strict=True)
                assert all(agree(a, b) for a, b in pairs)


def assert_by_sight_all(ours: Scores, theirs: dict[str, Any], part: str = "overall") -> None:
    for video, expected in theirs["per_video"].items():
        assert_by_sight(ours, video, expected, part)
    assert {o.video for o in ours.objects if o.part == part} == theirs["per_video"].keys()


def assert_global(ours: Scores, theirs: dict[str, Any], suffix: str = "") -> None:
    for measure, key in (("J&F", "JF"), ("J", "J"), ("F", "F")):
        assert agree(ours.headline[measure + suffix], theirs["global"][key], 100)


def quirk(name: str) -> tuple[Source, Path]:
    """A quirk's truth and predictions."""
    folder = unpacked("quirks") / name
    return Source(folder / "gt"), folder / "pred"


def test_davis_2017_semi_supervised() -> None:
    root = unpacked("davis")
    ours = scored(
        ProtocolName.DAVIS2017, Source(root), root / "preds", benchmark=Benchmark.DAVIS2017
    )
    assert_davis(ours, davis["davis_semi-supervised"])


def test_davis_2017_unsupervised() -> None:
    root = unpacked("davis")
    ours = scored(
        ProtocolName.DAVIS2017_UNSUPERVISED,
        Source(root),
        root / "preds",
        benchmark=Benchmark.DAVIS2017_UNSUPERVISED,
    )
    expected = davis["davis_unsupervised"]
    # The official tool numbers its rows by matched proposal; we report objects by their own id.
    by_proposal = {f"{o.video}_{o.values['proposal']:.0f}": o for o in ours.objects}
    assert by_proposal.keys() == expected["per_object"].keys()
    for name, values in expected["per_object"].items():
        for key, value in values.items():
            assert agree(by_proposal[name].values[DAVIS_KEYS[key]], value), (name, key)
    for key, value in expected["global"].items():
        if key in DAVIS_KEYS:
            assert agree(ours.headline[DAVIS_KEYS[key]], value), key
    assert agree(ours.headline["J&F"], expected["global"]["JF"])


def test_davis_2016() -> None:
    root = unpacked("davis16")
    ours = scored(
        ProtocolName.DAVIS2016, Source(root / "gt"), root / "preds", benchmark=Benchmark.DAVIS2016
    )
    # The only runnable tool that reads 0/255 masks as an object calls it 255.
    for video, expected in vosb["davis16"]["per_video"].items():
        scores = by_name(ours.objects)[f"{video}_1"]
        for measure in ("J", "F"):
            assert agree(scores.values[measure], expected[measure]["255"], 100)
            pairs = zip(scores.curves[measure], expected[f"frames_{measure}"]["255"], strict=True)
            assert all(agree(a, b) for a, b in pairs)
    assert_global(ours, vosb["davis16"])


def test_davis_2017_refuses_the_masks_of_davis_2016_as_the_official_tool_does() -> None:
    root = unpacked("davis16")
    assert davis["davis16"]["error"] == "SystemExit"
    with pytest.raises(InputError, match="255"):
        scored(ProtocolName.DAVIS2017, Source(root / "gt"), root / "preds")


@pytest.mark.parametrize("name", QUIRKS)
def test_davis_2017_on_the_quirk(name: str) -> None:
    source, predictions = quirk(name)
    expected = davis["quirks"][name]
    if "error" in expected:
        with pytest.raises(ScoringError, match="video v"):
            scored(ProtocolName.DAVIS2017, source, predictions)
        return
    assert_davis(scored(ProtocolName.DAVIS2017, source, predictions), expected)


@pytest.mark.parametrize(
    ("case", "protocol"),
    [
        ("davis", ProtocolName.VOS_BENCHMARK),
        ("davis_noskip", ProtocolName.VOS_BENCHMARK_EVERY_FRAME),
    ],
)
def test_vos_benchmark_on_davis(case: str, protocol: ProtocolName) -> None:
    root = unpacked("davis")
    ours = scored(protocol, Source(root / "Annotations/480p"), root / "preds")
    assert_by_sight_all(ours, vosb[case])
    assert_global(ours, vosb[case])
    assert len(ours.objects) == vosb[case]["global"]["n_objects"]


@pytest.mark.parametrize("evaluator", [vosb, sav], ids=["vos-benchmark", "sav"])
def test_by_sight_on_davis_2016(evaluator: dict[str, Any]) -> None:
    protocol = ProtocolName.VOS_BENCHMARK if evaluator is vosb else ProtocolName.SA_V
    root = unpacked("davis16")
    ours = scored(protocol, Source(root / "gt"), root / "preds")
    assert_by_sight_all(ours, evaluator["davis16"])
    assert_global(ours, evaluator["davis16"])


@pytest.mark.parametrize("skip_ends", [True, False])
@pytest.mark.parametrize("name", QUIRKS)
def test_vos_benchmark_on_the_quirk(name: str, skip_ends: bool) -> None:
    source, predictions = quirk(name)
    expected = vosb["quirks" if skip_ends else "quirks_noskip"][name]
    protocol = ProtocolName.VOS_BENCHMARK if skip_ends else ProtocolName.VOS_BENCHMARK_EVERY_FRAME
    options = RuleOptions(count_strays=True)
    if "error" in expected:
        with pytest.raises(ScoringError, match="video v"):
            scored(protocol, source, predictions, options=options)
        return
    assert_by_sight(scored(protocol, source, predictions, options=options), "v", expected)


@pytest.mark.parametrize("name", QUIRKS)
def test_sa_v_on_the_quirk(name: str) -> None:
    source, predictions = quirk(name)
    expected = sav["quirks"][name]
    if name == "stray-file":  # crashes there; here the file is named and left out
        ours = scored(ProtocolName.SA_V, source, predictions)
        assert any(".DS_Store" in str(finding) for finding in ours.findings)
        return
    if "error" in expected:
        with pytest.raises(ScoringError, match="video v"):
            scored(ProtocolName.SA_V, source, predictions)
        return
    assert_by_sight(scored(ProtocolName.SA_V, source, predictions), "v", expected)


def test_sa_v_on_label_maps() -> None:
    root = unpacked("davis")
    ours = scored(ProtocolName.SA_V, Source(root / "Annotations/480p"), root / "preds")
    assert_by_sight_all(ours, sav["davis"])
    assert_global(ours, sav["davis"])


def test_sa_v_with_a_folder_an_object() -> None:
    root = unpacked("sav")
    ours = scored(ProtocolName.SA_V, Source(root / "gt"), root / "preds", benchmark=Benchmark.SA_V)
    assert_by_sight_all(ours, sav["sav"])
    assert_global(ours, sav["sav"])


def test_sa_v_on_every_frame() -> None:
    root = unpacked("sav")
    ours = scored(
        ProtocolName.VOS_BENCHMARK_EVERY_FRAME,
        Source(root / "gt"),
        root / "preds",
        benchmark=Benchmark.SA_V,
    )
    assert_by_sight_all(ours, sav["sav_noskip"])
    assert_global(ours, sav["sav_noskip"])


def test_sa_v_refuses_an_object_that_only_the_first_frame_shows() -> None:
    root = unpacked("sav_assert")
    assert sav["sav_assert"]["error"] == "AssertionError"
    with pytest.raises(ScoringError, match=r"video sav_000003, object 000, .*--drop-unseen"):
        scored(ProtocolName.SA_V, Source(root / "gt"), root / "preds", benchmark=Benchmark.SA_V)


@pytest.mark.parametrize("part", ["first_segment", "second_segment", "remain_segments", "overall"])
def test_secvos(part: str) -> None:
    root = unpacked("secvos")
    ours = scored(ProtocolName.SECVOS, Source(root), root / "preds", benchmark=Benchmark.SECVOS)
    columns = {
        "first_segment": " none",
        "second_segment": " single",
        "remain_segments": " multi",
        "overall": "",
    }
    expected = golden("sec")[part]
    assert_by_sight_all(ours, expected, part)
    assert_global(ours, expected, columns[part])


def test_secvos_referring() -> None:
    root = unpacked("secvos")
    ours = scored(
        ProtocolName.SECVOS_REFERRING, Source(root), root / "preds", benchmark=Benchmark.SECVOS
    )
    expected = golden("sec")["overall_noskip(referring)"]
    assert_by_sight_all(ours, expected)
    assert_global(ours, expected)


def test_mose_v2() -> None:
    root = unpacked("mosev2")
    ours = scored(ProtocolName.MOSE2, Source(root), root / "preds", benchmark=Benchmark.MOSE2)
    expected = golden("mose")
    objects = by_name(ours.objects)
    assert objects.keys() == expected["per_object"].keys()
    for name, values in expected["per_object"].items():
        assert_agree(objects[name].values, values)
        for measure in ("J", "F", "Fdot"):
            curve = objects[name].curves.get(measure, ())
            pairs = zip(curve, expected["frames"][name][measure], strict=True)
            assert all(agree(a, b) for a, b in pairs)
    names = {"JFdot": "J&Fdot", "JFdot_d": "J&Fdot_d", "JFdot_r": "J&Fdot_r", "JF": "J&F"}
    headline = {names.get(key, key): value for key, value in expected["global"].items()}
    assert_agree(ours.headline, headline)
    assert ours.headline.keys() == headline.keys()


def test_mose_v2_prints_the_line_that_the_official_tool_prints() -> None:
    root = unpacked("mosev2")
    ours = scored(ProtocolName.MOSE2, Source(root), root / "preds", benchmark=Benchmark.MOSE2)
    line = ",".join(f"{100 * value:.1f}" for value in ours.headline.values())
    assert f"Copy-Paste: {line}\n" in golden("mose")["cli"]["scores_txt"]


def test_lvos() -> None:
    root = unpacked("lvos")
    ours = scored(ProtocolName.LVOS, Source(root), root / "preds", benchmark=Benchmark.LVOS2)
    expected = golden("lvos")
    objects = by_name(ours.objects)
    assert objects.keys() == expected["per_object"].keys()
    for name, values in expected["per_object"].items():
        assert_agree(objects[name].values, values)
    short = {"JF": "J&F"} | {f"{m}_{g}": f"{m}_{g[0]}" for m in "JFV" for g in ("seen", "unseen")}
    assert_agree(ours.headline, {short.get(k, k): v for k, v in expected["global"].items()})


def test_lvos_on_the_server_averages_over_objects() -> None:
    root = unpacked("lvos")
    ours = scored(
        ProtocolName.LVOS_CODALAB, Source(root), root / "preds", benchmark=Benchmark.LVOS2
    )
    values = [v for o in golden("lvos")["per_object"].values() for v in (o["J"], o["F"])]
    assert agree(ours.headline["J&F"], math.fsum(values) / len(values))
    assert not ours.official


def test_youtube_vos_by_our_reading_of_its_description(tmp_path: Path) -> None:
    root = unpacked("ytvos")
    source = Source(root / "valid", truth=root / "gt_full", unseen=root / "split.json")
    ours = scored(
        ProtocolName.YOUTUBE_VOS, source, root / "preds", benchmark=Benchmark.YOUTUBE_VOS_2019
    )
    expected = golden("ytvos")
    assert expected["UNOFFICIAL"]
    assert not ours.official
    objects = by_name(ours.objects)
    assert objects.keys() == expected["per_object"].keys()
    for name, values in expected["per_object"].items():
        assert objects[name].group is Group(values.pop("split"))
        assert_agree(objects[name].values, values)
    short = {f"{m}_{g}": f"{m}_{g[0]}" for m in "JF" for g in ("seen", "unseen")}
    assert_agree(ours.headline, {short.get(k, k): v for k, v in expected["global"].items()})
