"""`track`, `demo`, `recipes`, `doctor` and the command line as a whole, as a user types them.

The tracker is one that follows a color, so that no weights are needed.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import segment_concept
from helpers.signals import default_signals
from helpers.video_toys import (
    ColorTracker,
    Film,
    presentation_times,
    truth,
    write_film,
)
from segment_concept.checkpoints import load as build
from segment_concept.cli.app import COMMANDS, command, make_app
from segment_concept.cli.console import printable
from segment_concept.cli.doctor import memory_table
from segment_concept.cli.prompt_options import prompts_of_options
from segment_concept.cli.track import tell, with_weights
from segment_concept.pipeline.results import ObjectSummary, TrackSummary
from segment_concept.recipes import find_recipe
from segment_concept.types import Box, InputError, Points
from segment_concept.video.timecode import Seconds

SOURCE = Path(segment_concept.__file__).parents[1]
TESTS = Path(__file__).parents[1]
RED, GREEN = "4,12,20,28", "70,44,86,60"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", Film(sound="aac"))


@pytest.fixture(autouse=True)
def _color_tracker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "load", lambda recipe, **how: ColorTracker())
    monkeypatch.setattr(build, "weights_hash", lambda recipe: "0" * 64)
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> tuple[int, str]:
    """Exit code and all that was said."""
    found = CliRunner().invoke(make_app(), [str(w) for w in words], env={"COLUMNS": "200"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def result_in(out: Path) -> Any:
    return json.loads((out / "result.json").read_text())


def ids_on(out: Path, index: int) -> Any:
    return np.asarray(Image.open(out / "palette" / f"{index:05d}.png"))


def test_a_video_and_a_box_are_enough(film: Path, tmp_path: Path) -> None:
    code, said = run("track", film, "--box", RED)
    assert code == 0
    out = tmp_path / "film_tracked"
    assert sorted(p.name for p in out.glob("[!.]*")) == ["overlay.mp4", "palette", "result.json"]
    assert "20 frames in" in said
    assert "frames/s" in said
    assert "object 1: visible on 20 of 20 frames" in said
    assert ((ids_on(out, 7) == 1) & truth(7)).sum() > 200


def test_the_result_names_the_recipe_the_weights_and_the_versions(
    film: Path, tmp_path: Path
) -> None:
    assert run("track", film, "--box", RED, "-o", "out", "-r", "sam2_compact")[0] == 0
    result = result_in(tmp_path / "out")
    assert result["recipe"]["name"] == "sam2_compact"
    assert result["recipe"]["policy"]["type"] == "RecentMemory"
    assert result["weights"]["sha256"] == "0" * 64
    assert result["device"] in ("cpu", "cuda", "mps")
    assert result["versions"]["segment-concept"] == segment_concept.__version__
    assert result["versions"]["torch"].startswith("2.")


def test_two_objects_are_shown_on_different_frames(film: Path, tmp_path: Path) -> None:
    words = ["--object", 1, "--box", RED, "--object", 2, "--at", "0.4s", "--point", "75,50"]
    assert run("track", film, *words, "--out", "out", "--direction", "forward")[0] == 0
    frames = result_in(tmp_path / "out")["frames"]
    assert [list(f["objects"]) for f in frames] == [["1"]] * 10 + [["1", "2"]] * 10


def test_everything_that_can_be_saved_is_saved(film: Path, tmp_path: Path) -> None:
    save = "overlay, palette,objects,rle,matte,matte-png"
    assert run("track", film, "--box", RED, "--out", "out", "--save", save)[0] == 0
    found = sorted(p.name for p in (tmp_path / "out").glob("[!.]*"))
    expected = ["matte", "matte.mp4", "objects", "overlay.mp4", "palette", "result.json"]
    assert found == [*expected, "rle.json"]


def test_explain_adds_the_page_and_the_video_that_it_plays(film: Path, tmp_path: Path) -> None:
    assert run("track", film, "--box", RED, "-o", "o", "-s", "palette", "--explain", "-q")[0] == 0
    assert {p.name for p in (tmp_path / "o").glob("[!.]*")} == {
        "explain.html",
        "overlay.mp4",
        "palette",
        "result.json",
    }
    page = (tmp_path / "o/explain.html").read_text(encoding="utf-8")
    assert 'src="overlay.mp4"' in page
    assert "film.mp4, tracked by sec_compact" in page


def test_prompts_come_from_a_file_too(film: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('[{"object": 7, "box": [70, 44, 86, 60]}]')
    assert run("track", film, "--prompts", "p.json", "--box", RED, "--out", "out")[0] == 0
    assert set(np.unique(ids_on(tmp_path / "out", 3))) == {0, 1, 7}


def test_quiet_says_nothing(film: Path) -> None:
    assert run("track", film, "--box", RED, "--quiet") == (0, "")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing to track"),
        (["--point", "96,10"], "lies outside frame 0, which is 96x64"),
        (["--box", "1,2,3"], "expected x0,y0,x1,y1"),
        (["--box", "200,200,220,220"], "lies outside"),
        (["--mask", "none.png"], "there is no mask none.png"),
        (["--mask", "small.png"], "the mask is 10x10 but frame 0 is 96x64"),
        (["--mask", "empty.png"], "no foreground pixel"),
        (["--box", RED, "--recipe", "sec_kompact"], "did you mean sec_compact"),
        (
            ["--box", RED, "--save", "overlay,masks"],
            "--save masks: expected a comma-separated list of overlay",
        ),
        (["--box", RED, "--at", "99"], "no frame 99"),
        (["--box", RED, "--at", "soon"], "no place in a video"),
        (["--box", RED, "--box", GREEN], "use different object ids"),
        (["--object", "2"], "object 2 has no prompt"),
        (["--object", "x", "--box", RED], "--object x: expected a number"),
        (["--box", RED, "--out", "full"], "contains other files"),
        (["--box", RED, "--resume", "--overwrite"], "give one"),
        (["--box", RED, "--fps", "0"], "--fps 0"),
        (["--box", RED, "--device", "abacus"], "no device 'abacus'"),
    ],
)
def test_bad_input_is_reported_in_a_sentence_with_exit_code_2(
    film: Path, tmp_path: Path, words: list[str], why: str
) -> None:
    Image.fromarray(np.eye(10, dtype=np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    code, said = run("track", film, *words)
    assert code == 2
    assert said.startswith("error: ")
    assert why in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.mp4", None, "there is no file none.mp4"),
        ("empty.mp4", b"", "is empty"),
        ("notes.mp4", b"not a video at all " * 50, "notes.mp4"),
    ],
)
def test_a_file_that_is_no_video_is_reported_with_exit_code_2(
    tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, said = run("track", name, "--box", RED)
    assert code == 2
    assert said.startswith("error: ")
    assert why in said


def test_a_result_is_replaced_only_where_that_was_asked_for(film: Path) -> None:
    assert run("track", film, "--box", RED)[0] == 0
    code, said = run("track", film, "--box", GREEN)
    assert code == 2
    assert "--overwrite" in said
    assert run("track", film, "--box", GREEN, "--overwrite")[0] == 0
    code, said = run("track", film, "--box", GREEN, "--resume")
    assert code == 0
    assert "already complete" in said


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([("--box", "1,2,3,4")], [(1, 0, Box(1, 2, 3, 4))]),
        ([("--box", "1,2,3,4"), ("--at", "9")], [(1, 9, Box(1, 2, 3, 4))]),
        ([("--at", "1.5s"), ("--box", "1,2,3,4")], [(1, Seconds(1.5), Box(1, 2, 3, 4))]),
        (
            [("--point", "1,2"), ("--background-point", "3,4"), ("--point", "5,6")],
            [(1, 0, Points(((1, 2), (5, 6), (3, 4)), (True, True, False)))],
        ),
        (
            [("--point", "1,2"), ("--box", "0,0,9,9")],
            [(1, 0, Points(((1, 2),), (True,), Box(0, 0, 9, 9)))],
        ),
        (
            [("--object", "3"), ("--box", "1,2,3,4"), ("--object", "2"), ("--box", "5,6,7,8")],
            [(3, 0, Box(1, 2, 3, 4)), (2, 0, Box(5, 6, 7, 8))],
        ),
        (
            [
                ("--at", "5"),
                ("--object", "1"),
                ("--box", "1,2,3,4"),
                ("--object", "2"),
                ("--box", "5,6,7,8"),
                ("--at", "9"),
            ],
            [(1, 5, Box(1, 2, 3, 4)), (2, 9, Box(5, 6, 7, 8))],
        ),
        (
            [("--at", "0"), ("--box", "1,2,3,4"), ("--at", "30"), ("--point", "5,6")],
            [(1, 0, Box(1, 2, 3, 4)), (1, 30, Points.on((5, 6)))],
        ),
        ([], []),
    ],
)
def test_the_order_of_options_says_what_belongs_together(
    given: list[tuple[str, str]], shown: list[tuple[int, object, object]]
) -> None:
    assert [(s.object_id, s.at, s.prompt) for s in prompts_of_options(given)] == shown


def test_the_meaning_of_a_mask_may_follow_its_name(tmp_path: Path) -> None:
    labels = np.zeros((64, 96), np.uint8)
    labels[5:20, 5:20], labels[30:50, 30:60] = 128, 255
    path = str(tmp_path / "m.png")
    Image.fromarray(labels).save(path)
    (one,) = prompts_of_options([("--mask", path), ("--mask-id", "128")])
    assert one.prompt.bitmap.sum() == 225
    (one,) = prompts_of_options([("--object", "7"), ("--mask", path), ("--mask-color", "white")])
    assert (one.object_id, one.prompt.bitmap.sum()) == (7, 600)
    with pytest.raises(InputError, match="give it after --mask FILE"):
        prompts_of_options([("--mask-id", "128"), ("--mask", path)])
    with pytest.raises(InputError, match="use only one of"):
        prompts_of_options([("--mask", path), ("--mask-id", "128"), ("--invert", "")])


@pytest.mark.parametrize("number", ["", "one", "-1", "\u00b2", "9" * 5000])
def test_an_object_without_a_number_is_refused(number: str) -> None:
    with pytest.raises(InputError, match="expected a number from 1 to 255"):
        prompts_of_options([("--object", number), ("--box", "1,2,3,4")])


def test_the_reading_of_a_mask_is_printed_before_tracking(film: Path, tmp_path: Path) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[12:28, 4:20] = 255
    Image.fromarray(255 - mask).save(tmp_path / "m.png")
    code, said = run("track", film, "--mask", tmp_path / "m.png", "--invert")
    assert code == 0
    assert "m.png: 1 object (1), 4 % of the image" in said


def test_control_characters_in_a_name_are_printed_escaped(tmp_path: Path) -> None:
    code, said = run("track", "a\x1b[31m[red]\n.mp4", "--box", RED)
    assert code == 2
    assert "\x1b[31m" not in said
    assert "a\\x1b[31m[red]" in said
    assert printable("b\udce9\u202e") == "b\\udce9\\u202e"


def test_points_off_an_object_need_one_on_it() -> None:
    with pytest.raises(InputError, match="background points need"):
        prompts_of_options([("--background-point", "1,2")])


def test_options_are_understood_with_an_equals_sign(film: Path, tmp_path: Path) -> None:
    assert run("track", "--object=4", f"--box={GREEN}", film, "--out=out")[0] == 0
    assert set(np.unique(ids_on(tmp_path / "out", 3))) == {0, 4}


SLOW = """
import sys, time
from helpers.video_toys import ColorSession, ColorTracker
from segment_concept.checkpoints import load as build
step = ColorSession.step
def slow(self, frame, prompts):
    time.sleep(0.05)
    return step(self, frame, prompts)
ColorSession.step = slow
build.load = lambda recipe, **how: ColorTracker()
build.weights_hash = lambda recipe: "0" * 64
from segment_concept.cli import main
main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_keeps_finished_frames_and_resume_continues(
    film: Path, tmp_path: Path, name: str
) -> None:
    if not hasattr(signal, name):
        pytest.skip("this system has no such signal")
    words = ["track", str(film), "--box", RED, "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words],
        env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{TESTS}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "out/palette/00002.png").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert "frames are kept in out" in said
    assert "--resume" in said
    done = len(list((tmp_path / "out/palette").glob("*.png")))
    assert 3 <= done < 20
    assert result_in(tmp_path / "out")["finished"] is False
    assert len(presentation_times(tmp_path / "out/overlay.mp4")) == done
    code, said = run(*words, "--resume")
    assert code == 0
    assert f"{20 - done} frames in" in said
    assert run("track", film, "--box", RED, "--out", "whole")[0] == 0
    for name in ["result.json", *(f"palette/{i:05d}.png" for i in range(20))]:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_demo_shows_its_shots_and_where_to_look(tmp_path: Path) -> None:
    code, said = run("demo", "--out", "demo")
    assert code == 0
    assert "108 frames in" in said
    assert "demo/overlay.mp4" in said
    rows = [line.split() for line in said.splitlines() if line.split()[1:2] == ["36"]]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert [row[2] for row in rows] == ["0.00", "1.44", "2.88"]
    assert len(presentation_times(tmp_path / "demo/overlay.mp4")) == 108


def test_recipes_are_listed_with_size_and_license() -> None:
    code, said = run("recipes")
    assert code == 0
    assert "Research" in said
    for word in ("sec_compact", "sam2_large", "facebook/sam2.1-hiera-large", "Apache-2.0", "MB"):
        assert word in said


def test_the_doctor_names_versions_and_devices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.touch()
    monkeypatch.setattr(build, "bundled_weights", lambda: weights)
    code, said = run("doctor")
    assert code == 0
    for word in (segment_concept.__version__, "torch", "cores", "default device", "no problems"):
        assert word in said


def test_the_doctor_says_what_every_kind_of_recipe_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.touch()
    monkeypatch.setattr(build, "bundled_weights", lambda: weights)
    said = [" ".join(line.split()) for line in run("doctor")[1].splitlines()]
    amount = r"\d+\.\d GiB"
    for line in (
        f"sec_compact {amount} measured with one object on 12 frames of the demo",
        f"sam2_large, samurai_large {amount} estimated",
        f"sec_4b {amount} estimated.*",
        f"with dtype='bfloat16' {amount} estimated.*",
        r"license of sec_4b.*: .*Qwen Research License.*",
    ):
        assert any(re.fullmatch(line, one) for one in said), line


def test_the_doctor_says_which_recipes_need_more_than_there_is() -> None:
    table = memory_table(torch.device("cpu"), available=8 << 30)
    last = [str(cell) for cell in table.columns[2].cells]
    too_large = {
        name
        for name, how in zip(table.columns[0].cells, last, strict=True)
        if how == "estimated; more than available"
    }
    assert "sec_4b" in too_large
    assert not too_large & {"sec_compact", "sam2_large, samurai_large", "cutie_base"}


def test_the_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "bundled_weights", lambda: tmp_path / "none")
    code, said = run("doctor")
    assert code == 1
    assert "the bundled weights are missing" in said


def test_the_version_is_said() -> None:
    assert run("--version") == (0, f"segment-concept {segment_concept.__version__}\n")


def test_help_lists_every_command() -> None:
    code, said = run("--help")
    assert code == 0
    for name in COMMANDS:
        assert name in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_exists(name: str) -> None:
    assert command(name).name == name


def test_every_module_that_registers_commands_is_listed() -> None:
    folder = SOURCE / "segment_concept" / "cli"
    registering = {p.stem for p in folder.glob("*.py") if "\ndef register(" in p.read_text()}
    of_train = {"train_memory", "train_concept"}  # subcommands, which `train` registers
    assert registering - of_train == {module for module, _ in COMMANDS.values()}


def test_an_unknown_command_is_refused() -> None:
    code, said = run("trak")
    assert code == 2
    assert "No such command" in said


def test_other_weights_and_a_device_for_the_language_model_are_handed_on(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(recipe: Any, **how: Any) -> ColorTracker:
        asked.append((recipe.weights, how["language_device"]))
        return ColorTracker()

    monkeypatch.setattr(build, "load", load)
    words = ["--box", RED, "--recipe", "sec_4b", "--weights", "mine", "--language-device", "cpu"]
    assert run("track", film, *words)[0] == 0
    assert asked == [("mine", "cpu")]


def test_number_type_size_and_compilation_are_handed_on(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(recipe: Any, **how: Any) -> ColorTracker:
        asked.append((recipe.dtype, recipe.image_side, recipe.compiled))
        return ColorTracker()

    monkeypatch.setattr(build, "load", load)
    options = ["--dtype", "float16", "--size", "512", "--compile", "inductor"]
    assert run("track", film, "--box", RED, "-r", "sam2_tiny", *options)[0] == 0
    assert asked == [("float16", 512, "inductor")]


@pytest.mark.parametrize(("word", "expected"), [("1", 1), ("auto", "auto")])
def test_which_frames_are_tracked_is_handed_on(
    film: Path, monkeypatch: pytest.MonkeyPatch, word: str, expected: object
) -> None:
    asked: list[Any] = []

    def load(recipe: Any, **how: Any) -> ColorTracker:
        asked.append(recipe.every)
        return ColorTracker()

    monkeypatch.setattr(build, "load", load)
    assert run("track", film, "--box", RED, "--every", word)[0] == 0
    assert asked == [expected]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--every", "2"], "--every 2: expected 1 (every frame) or auto"),
        (["-r", "xmem", "--every", "auto"], "recipe xmem tracks every frame"),
        (["--dtype", "bfloat16"], "recipe sec_compact computes in float32 only"),
        (["-r", "sam2_tiny", "--dtype", "half"], "dtype='half': expected one of auto, float32"),
        (
            ["-r", "sam2_tiny", "--size", "1000"],
            "1000 pixels: recipe sam2_tiny takes multiples of 32",
        ),
        (["--compile", "inductor"], "recipe sec_compact cannot be compiled"),
    ],
)
def test_impossible_network_options_are_answered_before_anything_is_loaded(
    film: Path, options: list[str], said: str
) -> None:
    code, output = run("track", film, "--box", RED, *options)
    assert code == 2
    assert said in output


def test_the_end_says_how_to_look_at_the_result(film: Path, tmp_path: Path) -> None:
    words = ("--save", "overlay,palette", "--explain", "--out", "out")
    code, said = run("track", film, "--box", RED, *words)
    assert code == 0
    assert f"watch the masks on the video: {Path('out/overlay.mp4')}" in said
    assert f"open in a browser to see which frames to check: {Path('out/explain.html')}" in said


def test_an_object_that_is_never_seen_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, unseen = ObjectSummary(3, 5, 0.9, 0.8), ObjectSummary(0, 5, 0.1, 0.0)
    tell(TrackSummary(tmp_path, True, 5, 1.0, 5, {1: seen, 2: unseen}, (), ()))
    captured = capsys.readouterr()
    assert "warning: object 2 was never found: check its prompt" in captured.err
    assert "object 1 was" not in captured.err


def test_a_frame_rate_for_a_video_is_refused(film: Path) -> None:
    code, said = run("track", film, "--box", RED, "--fps", "12")
    assert code == 2
    assert "--fps is for folders of images" in said


def test_other_outputs_of_a_finished_run_are_exported(film: Path, tmp_path: Path) -> None:
    assert run("track", film, "--box", RED, "--save", "rle", "--out", "out")[0] == 0
    code, said = run("export", "out", "--save", "rle,palette")
    assert (code, said.strip()) == (0, "wrote palette to out")
    assert len(list(Path("out/palette").glob("*.png"))) == 20
    code, said = run("export", "out", "--save", "overlay")
    assert code == 2
    assert "give it with --video" in said
    assert run("export", "out", "--save", "overlay", "--video", film)[0] == 0
    assert "has all of these outputs already" in run("export", "out", "--save", "overlay")[1]


def test_a_tokenizer_goes_to_sec_and_is_refused_elsewhere(tmp_path: Path) -> None:
    recipe = with_weights(find_recipe("sec_4b"), "sec.safetensors", tmp_path)
    assert (recipe.weights, recipe.tokenizer) == ("sec.safetensors", str(tmp_path))
    with pytest.raises(InputError, match="--tokenizer: compact has no language model"):
        with_weights(find_recipe("sec_compact"), None, tmp_path)
