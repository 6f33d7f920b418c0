"""Only what an edit can change is tracked again, and the result is that of tracking everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_concept.web.edits import ClearPrompt, DrawMask, Edit, Fix
from segment_concept.web.spans import FrameState, ObjectStates, Span

FRAMES = 24
FIXES = ("lock", "unlock", "confirm", "deny", "undecide")


class Sheet:
    """One object of a video whose masks are numbers: a frame's is a function of the one that was
    played before it. Drawn masks are given; every edit and job is done as the project does it."""

    def __init__(self) -> None:
        self.states = ObjectStates()
        self.values = [0] * FRAMES  # what is shown
        self.written: list[int] = []

    def edit(self, edit: Edit, value: int = 0) -> None:
        self.states.apply(edit)
        if isinstance(edit, DrawMask):
            self.values[edit.frame] = value
            self.states.add([edit.frame], 0, False, value == 0)

    def follow(self, start: int, end: int, value: int, *, backwards: bool) -> int:
        """The state before frame `end`, which begins as `value` on frame `start`."""
        step = -1 if backwards else 1
        for frame in range(start + step, end, step):
            if self.is_skipped(frame):
                continue
            value = following(value, frame)
        return value

    def is_skipped(self, frame: int) -> bool:
        states = self.states
        is_empty = bool(states.absent[frame]) and (
            states.base[frame] == FrameState.PROMPTED or bool(states.kept[frame])
        )
        return states.states()[frame] == FrameState.DENIED or is_empty

    def track(self, span: Span) -> None:
        anchor = self.states.start_of(span)
        value = self.follow(anchor, span.first, self.values[anchor], backwards=span.backwards)
        for frame in span.frames:
            value = following(value, frame)
            self.values[frame] = value
            self.written.append(frame)
            self.states.add([frame], 0, span.backwards, value == 0)

    def job(self, first: int, last: int, direction: str, *, again: bool = False) -> list[Span]:
        spans = self.states.spans(1, first, last, direction, again=again)
        for span in spans:
            self.track(span)
        return spans

    def expected(self) -> list[int | None]:
        """The values when everything is tracked again, each frame in its direction."""
        states, found = self.states, list[int | None]([None] * FRAMES)
        anchors = np.flatnonzero(states.anchors).tolist()
        for frame in range(min(FRAMES, len(states))):
            if states.states()[frame] != FrameState.TRACKED:
                continue
            back = bool(states.backwards[frame])
            start = (
                min(a for a in anchors if a > frame)
                if back
                else max(a for a in anchors if a < frame)
            )
            value = self.follow(start, frame, self.values[start], backwards=back)
            found[frame] = following(value, frame)
        return found


def following(value: int, frame: int) -> int:
    """Never 0: an empty mask is what a person says."""
    return (value * 31 + frame * 7) % 97 + 1


frames = st.integers(0, FRAMES - 1)
ranges = st.tuples(frames, frames).map(sorted)
draws = st.builds(lambda f, v: (DrawMask(1, f), v), frames, st.integers(0, 3))
clears = st.builds(lambda f: (ClearPrompt(1, f), 0), frames)
fixes = st.builds(lambda k, r: (Fix(k, 1, r[0], r[1]), 0), st.sampled_from(FIXES), ranges)
jobs = st.tuples(st.sampled_from(["forward", "backward", "both"]), ranges, st.booleans())
actions = st.lists(st.one_of(draws, draws, clears, fixes, jobs, jobs), max_size=14)


def played(steps: list[tuple]) -> Sheet:
    sheet = Sheet()
    for step in steps:
        if isinstance(step[0], str):
            direction, (first, last), again = step
            sheet.job(first, last, direction, again=again)
        else:
            sheet.edit(*step)
    return sheet


@settings(max_examples=100, deadline=None)
@given(actions)
def test_what_is_not_stale_is_as_if_everything_had_been_tracked_again(steps: list[tuple]) -> None:
    sheet = played(steps)
    for frame, value in enumerate(sheet.expected()):
        if value is not None:
            assert sheet.values[frame] == value, f"frame {frame}"


@settings(max_examples=50, deadline=None)
@given(actions)
def test_a_job_over_everything_leaves_nothing_stale_that_an_anchor_leads_to(
    steps: list[tuple],
) -> None:
    sheet = played(steps)
    spans = sheet.states.spans(1, 0, FRAMES - 1, "both")
    covered = [frame for span in spans for frame in span.frames]
    assert len(covered) == len(set(covered)), "a frame lies in two spans"
    before = sheet.states.states()
    has_anchor = bool(sheet.states.anchors.any())
    for frame in range(FRAMES):
        wanted = before[frame] in (FrameState.EMPTY, FrameState.STALE)
        assert (frame in covered) == (wanted and has_anchor), f"frame {frame}"
    sheet.job(0, FRAMES - 1, "both")
    assert not sheet.states.spans(1, 0, FRAMES - 1, "both")


@settings(max_examples=50, deadline=None)
@given(actions, jobs)
def test_no_span_touches_what_a_person_has_given_or_kept(steps: list[tuple], job: tuple) -> None:
    sheet = played(steps)
    direction, (first, last), again = job
    states = sheet.states.states()
    fixed = (FrameState.LOCKED, FrameState.PROMPTED, FrameState.DENIED)
    for span in sheet.states.spans(1, first, last, direction, again=again):
        assert not any(f < len(states) and states[f] in fixed for f in span.frames)


def sheet_of_twenty() -> Sheet:
    sheet = Sheet()
    sheet.edit(DrawMask(1, 0), 5)
    sheet.job(0, 19, "forward")
    return sheet


def test_a_correction_makes_the_frames_after_it_stale_and_no_other() -> None:
    sheet = sheet_of_twenty()
    sheet.edit(DrawMask(1, 10), 3)
    assert sheet.job(0, 19, "forward") == [Span(1, 11, 19)]


def test_a_locked_frame_ends_what_a_correction_changes() -> None:
    sheet = sheet_of_twenty()
    sheet.edit(Fix("lock", 1, 15, 16))
    sheet.edit(DrawMask(1, 10), 3)
    assert sheet.job(0, 19, "forward") == [Span(1, 11, 14)]


def test_unlocking_makes_stale_only_what_was_changed_meanwhile() -> None:
    sheet = sheet_of_twenty()
    sheet.edit(Fix("lock", 1, 15, 15))
    sheet.edit(Fix("unlock", 1, 15, 15))
    assert not sheet.job(0, 19, "forward")
    sheet.edit(Fix("lock", 1, 15, 15))
    sheet.edit(DrawMask(1, 10), 3)
    sheet.edit(Fix("unlock", 1, 15, 15))
    assert sheet.job(0, 19, "forward") == [Span(1, 11, 19)]


def test_denying_a_shot_tracks_again_what_follows_it() -> None:
    sheet = sheet_of_twenty()
    sheet.edit(Fix("deny", 1, 5, 9))
    assert sheet.job(0, 19, "forward") == [Span(1, 10, 19)]


def test_confirming_a_shot_tracks_nothing_again() -> None:
    sheet = sheet_of_twenty()
    sheet.edit(Fix("confirm", 1, 5, 9))
    assert not sheet.job(0, 19, "forward")


def test_both_directions_go_forward_from_anchors_and_backward_before_the_first_one() -> None:
    sheet = Sheet()
    sheet.edit(DrawMask(1, 10), 5)
    assert sheet.job(0, 19, "both") == [Span(1, 11, 19), Span(1, 9, 0, backwards=True)]


def test_a_correction_makes_stale_what_was_tracked_backward_from_it() -> None:
    sheet = Sheet()
    sheet.edit(DrawMask(1, 10), 5)
    sheet.job(0, 19, "both")
    sheet.edit(DrawMask(1, 4), 2)
    assert sheet.job(0, 19, "both") == [Span(1, 3, 0, backwards=True)]


def test_a_job_from_the_middle_tracks_the_frames_that_lead_there() -> None:
    sheet = Sheet()
    sheet.edit(DrawMask(1, 2), 5)
    assert sheet.job(10, 12, "forward") == [Span(1, 3, 12)]


def test_clearing_the_only_prompt_leaves_nothing() -> None:
    sheet = sheet_of_twenty()
    sheet.edit(ClearPrompt(1, 0))
    assert not sheet.states.runs()


def test_a_span_without_an_anchor_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing leads to frame 3"):
        ObjectStates().start_of(Span(1, 3, 5))
