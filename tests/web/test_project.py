"""What a project on disk says after any end of the server."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from segment_concept.types import InputError
from segment_concept.web import edit_log
from segment_concept.web.edits import DrawMask, edit_as_json, edit_from_json
from segment_concept.web.folder import open_folder, project_folder
from segment_concept.web.project import Project, ReadOnlyError, RevisionError
from segment_concept.web.store import BACKWARDS, CUT, Result

SIZE = (4, 4)
PROMPT = {"type": "prompt", "object": 1, "frame": 2, "points": [[1, 1, 1]]}


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film")
    return path


def opened(video: Path) -> Project:
    return Project(open_folder(video, None, "sec_compact"), SIZE)


def made(project: Project, edit: dict[str, Any], op: str = "") -> dict[str, Any]:
    return project.edit(op or f"op{project.rev}", project.rev, edit)


def result(frame: int, tag: int, flags: int = 0, area: int = 3) -> Result:
    return Result(1, frame, tag, 0.875, 0.75, area, (0, 0, 1, 1), flags, b"\x0d\x03")


EDITS: list[dict[str, Any]] = [
    {"type": "object_add", "object": 1, "name": "Dog", "color": "#102030"},
    {"type": "object_change", "object": 1, "name": "Cat"},
    PROMPT | {"box": None, "points": [[1.0, 2.5, 1], [3.0, 1.0, 0]]},
    {"type": "prompt", "object": 2, "frame": 0, "points": [], "box": [0.0, 0.0, 2.0, 3.0]},
    {"type": "mask", "object": 1, "frame": 4},
    {"type": "clear", "object": 1, "frame": 2},
    {"type": "lock", "object": 1, "from": 2, "to": 3},
    {"type": "deny", "object": 1, "from": 4, "to": 4},
    {"type": "object_delete", "object": 2},
]


@pytest.mark.parametrize("values", EDITS, ids=lambda values: values["type"])
def test_an_edit_comes_back_from_the_journal(values: dict[str, Any]) -> None:
    edit = edit_from_json(values)
    assert edit_from_json(json.loads(json.dumps(edit_as_json(edit)))) == edit


def test_all_edits_are_there_when_a_project_is_opened_again(video: Path) -> None:
    first = opened(video)
    for values in EDITS[:4]:
        made(first, values)
    first.undo("back", first.rev)
    first.take([result(2, first.head), result(3, first.head)])
    first.close()
    again = opened(video)
    assert again.objects_json() == first.objects_json()
    assert (again.rev, again.head, again.can_redo) == (5, 3, True)
    assert again.shown(1, 3) == result(3, 3)


def test_a_change_that_was_not_written_fully_is_dropped_at_every_byte(video: Path) -> None:
    first = opened(video)
    made(first, EDITS[0])
    path = video.with_name("film.mp4.sc") / "edits.jsonl"
    whole = path.read_bytes()
    made(first, EDITS[1])
    both = path.read_bytes()
    first.close()
    for length in range(len(whole), len(both)):
        path.write_bytes(both[:length])
        again = opened(video)
        assert again.objects[1].name == "Dog"
        assert path.read_bytes() == whole
        made(again, EDITS[1])
        assert again.objects[1].name == "Cat"
        again.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_changes_nothing(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = opened(video)
    made(project, EDITS[0])
    edits = project._log
    real, edits._path = edits._path, Path("/dev/full")
    monkeypatch.setattr(edit_log, "_cut", lambda path, length: None)
    with pytest.raises(OSError, match=os.strerror(28)):
        made(project, EDITS[1])
    assert project.objects[1].name == "Dog"
    edits._path = real
    made(project, EDITS[1])
    assert project.objects[1].name == "Cat"


def test_an_edit_of_an_earlier_revision_is_refused_with_the_present_one(video: Path) -> None:
    project = opened(video)
    made(project, EDITS[0])
    with pytest.raises(RevisionError) as caught:
        project.edit("late", 0, EDITS[1])
    assert caught.value.rev == 1


def test_results_of_an_edit_that_was_taken_back_are_shown_after_redo(video: Path) -> None:
    project = opened(video)
    made(project, PROMPT)
    project.take([result(2, 1), result(3, 1)])
    made(project, PROMPT | {"points": [[2, 2, 1]]})
    project.take([result(2, 2), result(3, 2, area=1)])
    project.undo("u", project.rev)
    assert project.shown(1, 3) == result(3, 1)
    project.redo("r", project.rev)
    assert project.shown(1, 3) == result(3, 2, area=1)


def test_a_result_that_comes_after_a_newer_edit_belongs_to_the_earlier_state(video: Path) -> None:
    project = opened(video)
    made(project, PROMPT)
    project.take([result(2, 1), result(3, 1)])
    made(project, PROMPT | {"points": [[2, 2, 1]]})
    project.take([result(4, 1)])
    states = project.objects_json()[0]["states"]
    assert states == [[2, 2, "prompted"], [3, 4, "stale"]]


def test_prompts_without_a_mask_are_unsolved_and_say_what_they_correct(video: Path) -> None:
    project = opened(video)
    made(project, PROMPT | {"frame": 1})
    assert [u.before for u in project.unsolved()] == [None]
    project.take([result(1, 1), result(2, 1)])
    assert not project.unsolved()
    made(project, PROMPT)
    made(project, PROMPT | {"points": [[1, 1, 1], [2, 2, 0]]})
    assert [u.before for u in project.unsolved()] == [result(2, 1)]


def test_a_cut_noticed_backward_is_that_of_the_next_frame(video: Path) -> None:
    project = opened(video)
    made(project, PROMPT)
    project.take([result(9, 1, CUT | BACKWARDS), result(3, 1, CUT)])
    assert project.cuts == {10, 3}
    project.close()
    assert opened(video).cuts == {10, 3}


def test_masks_that_would_not_change_are_valid_again_also_after_opening(video: Path) -> None:
    project = opened(video)
    made(project, PROMPT)
    project.take([result(f, 1) for f in range(2, 9)])
    made(project, PROMPT | {"points": [[2, 2, 1]]})
    project.take([result(2, 2), result(3, 2)])
    project.keep_rest(1, 4, 8, 2)
    expected = [[2, 2, "prompted"], [3, 8, "tracked"]]
    assert project.objects_json()[0]["states"] == expected
    project.close()
    assert opened(video).objects_json()[0]["states"] == expected


def test_a_second_process_may_only_read(video: Path) -> None:
    first = opened(video)
    made(first, EDITS[0])
    second = opened(video)
    assert second.objects[1].name == "Dog"
    with pytest.raises(ReadOnlyError, match=rf"another server .* \(process {os.getpid()}\)"):
        made(second, EDITS[1])
    first.close()
    third = opened(video)
    made(third, EDITS[1])


def test_a_film_that_was_changed_is_said_and_its_project_kept(video: Path) -> None:
    project = opened(video)
    made(project, EDITS[0])
    project.close()
    video.write_bytes(b"another film")
    again = opened(video)
    assert again.objects[1].name == "Dog"
    with pytest.raises(ReadOnlyError, match="was changed since this project was made"):
        made(again, EDITS[1])


def test_a_project_of_a_film_where_nothing_can_be_written_lies_elsewhere(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert project_folder(video, None).parent == tmp_path / "data/segment-concept/projects"


def test_a_project_of_another_version_is_refused(video: Path) -> None:
    opened(video).close()
    path = video.with_name("film.mp4.sc") / "project.json"
    path.write_text('{"format": 99}')
    with pytest.raises(InputError, match="a project of another version"):
        opened(video)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"type": "object_change", "object": 5, "name": "x"}, "there is no object 5"),
        ({"type": "object_add", "object": 300}, "a number from 1 to 255"),
        ({"type": "clear", "object": 1, "frame": 9}, "has no prompt on frame 9"),
        ({"type": "object_change", "object": 1, "color": "red"}, "#rrggbb"),
        ({"type": "object_change", "object": 1, "name": " "}, "not empty"),
        ({"type": "lock", "object": 1, "from": 5, "to": 2}, "the smaller number"),
        (PROMPT | {"points": [[1, 1, 1]] * 4097}, "too many"),
        (PROMPT | {"points": [[float("nan"), 1, 1]]}, "finite"),
        (PROMPT | {"points": [], "box": None}, "no point was given"),
    ],
)
def test_edits_without_sense_are_refused(video: Path, values: dict[str, Any], words: str) -> None:
    project = opened(video)
    made(project, EDITS[0])
    with pytest.raises(InputError, match=words):
        made(project, values)
    assert project.rev == 1


def test_a_drawn_mask_whose_edit_could_not_be_written_is_shown_nowhere(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = opened(video)
    made(project, PROMPT)
    project.take([result(2, 1), result(3, 1)])

    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(project._log, "append", full)
    with pytest.raises(OSError, match=os.strerror(28)):
        project.draw("draw", project.rev, DrawMask(1, 3), result(3, 0, area=9))
    monkeypatch.undo()
    made(project, {"type": "lock", "object": 1, "from": 2, "to": 2})
    project.close()
    assert opened(video).shown(1, 3) == result(3, 1)
