"""What a project knows of its frames, for the timeline, the shots and the explanations."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segment_concept.pipeline.timeline.attention import DOUBTFUL, Doubt, frames_to_check
from segment_concept.pipeline.timeline.chart import axis_of, bank_strip, change_strip, curve_strip
from segment_concept.pipeline.timeline.series import ObjectSeries, TimelineData
from segment_concept.web.project import Project, result_json
from segment_concept.web.spans import NEVER, Fixed, FrameState
from segment_concept.web.store import QUERIED, ROW

FLAG_CUT, FLAG_QUERIED, FLAG_DOUBTFUL, FLAG_MASK = 1, 2, 4, 8
# `scene_change.AdaptiveContent` and `fast_hsv` measure other quantities; the line in the drawing
# is that of the published trigger (a histogram distance).
THRESHOLD = 0.2
_BYTE = 255


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The results of an object that the page shows, copied: one row a frame (`ROW`)."""

    states: NDArray[np.uint8]  # `FrameState`
    fixed: NDArray[np.uint8]  # `Fixed`
    rows: NDArray[Any]
    known: NDArray[np.bool_]  # frames with a result

    @classmethod
    def of(cls, project: Project, object_id: int) -> "Shown":
        """All frames of an object."""
        states = project.objects[object_id].states
        rows = np.zeros(len(states), ROW)
        known = np.zeros(len(states), np.bool_)
        for tag in np.unique(states.tag).tolist():
            if tag == NEVER:
                continue
            found = project.store.rows(object_id, tag)
            found = found[states.tag[found["frame"]] == tag]
            rows[found["frame"]] = found
            known[found["frame"]] = True
        known &= states.fixed != Fixed.DENIED
        return cls(states.states(), states.fixed.copy(), rows, known)

    def score(self) -> NDArray[np.float32]:
        """The lower one of presence and predicted IoU, by which doubt is measured."""
        found: NDArray[np.float32] = np.minimum(self.rows["presence"], self.rows["score"])
        return found


def timeline_bytes(project: Project, object_id: int, first: int, last: int) -> bytes:
    """State, presence, score and flags of frames (inclusive), a byte each."""
    shown = Shown.of(project, object_id)
    found = np.zeros((last - first + 1, 4), np.uint8)
    end = max(first, min(last + 1, len(shown.rows)))
    rows, known = shown.rows[first:end], shown.known[first:end]
    part = found[: len(rows)]
    part[:, 0] = shown.states[first:end]
    part[:, 1] = np.where(known, rows["presence"].clip(0, 1) * _BYTE + 0.5, 0)
    part[:, 2] = np.where(known, rows["score"].clip(0, 1) * _BYTE + 0.5, 0)
    part[:, 3] = FLAG_QUERIED * (known & (rows["flags"] & QUERIED > 0))
    part[:, 3] |= FLAG_MASK * (known & (rows["area"] > 0)).astype(np.uint8)
    doubtful = known & (rows["area"] > 0) & (shown.score()[first:end] < DOUBTFUL)
    part[:, 3] |= FLAG_DOUBTFUL * doubtful.astype(np.uint8)
    for cut in project.cuts:
        if first <= cut <= last:
            found[cut - first, 3] |= FLAG_CUT
    return found.tobytes()


def all_shown(project: Project) -> dict[int, Shown]:
    """Every object by its id. A copy, so that another thread may read it."""
    return {i: Shown.of(project, i) for i in sorted(project.objects)}


def shots_json(shown: Mapping[int, Shown], timeline: TimelineData, frames: int) -> dict[str, Any]:
    """Shots between the known cuts with a card for every object, and frames to look at.

    Takes a second for a film of hours; reads nothing but its arguments.
    """
    doubts = frames_to_check(timeline)
    edges = [0, *(c for c in timeline.cuts if 0 < c < frames), max(frames, 1)]
    shots = []
    for first, end in pairwise(edges):
        cards = [
            card
            for i, each in shown.items()
            if (card := _card(i, each, first, end, doubts)) is not None
        ]
        shots.append({"from": first, "to": end - 1, "cards": cards})
    return {
        "shots": shots,
        "doubts": [{"frame": d.frame, "object": d.object_id, "reason": d.why} for d in doubts],
    }


def _card(
    object_id: int, shown: Shown, first: int, end: int, doubts: list[Doubt]
) -> dict[str, Any] | None:
    known = shown.known[first:end]
    states = shown.states[first:end]
    verdict = _verdict(shown.fixed[first:end])
    if not known.any() and verdict != "denied":
        return None
    rows = shown.rows[first:end]
    present = known & (rows["area"] > 0)
    score = shown.score()[first:end]
    own = [d for d in doubts if d.object_id == object_id and d.frame < end and d.last >= first]
    best = first + int(np.argmax(np.where(present, score, -1.0)))
    asked = int((known & (rows["flags"] & QUERIED > 0)).sum())
    return {
        "object": object_id,
        "verdict": verdict,
        "tracked": int(known.sum()),
        "stale": int((states == FrameState.STALE).sum()),
        "present": int(present.sum()),
        "score": round(float(score[present].mean()), 4) if present.any() else 0.0,
        "best": best,
        "doubt": 0.0 if verdict or not own else round(1 - max(0.0, min(d.score for d in own)), 4),
        "reasons": [] if verdict else list(dict.fromkeys(d.why for d in own)),
        "concept": _concept(asked, present),
    }


def _concept(asked: int, present: NDArray[np.bool_]) -> str | None:
    if not asked:
        return None
    times = "once" if asked == 1 else f"{asked} times"
    found = "found it" if present.any() else "did not find it"
    return f"the concept was asked {times}: tracking {found}"


def _verdict(fixed: NDArray[np.uint8]) -> str | None:
    for word, kind in (("denied", Fixed.DENIED), ("confirmed", Fixed.CONFIRMED)):
        if len(fixed) and (fixed == kind).mean() > 0.5:
            return word
    return None


def timeline_of(
    project: Project, shown: Mapping[int, Shown], seconds: NDArray[np.float64] | None = None
) -> TimelineData:
    """The frames with results as the explanation of `track` shows them."""
    length = max((len(each.rows) for each in shown.values()), default=0)
    any_known, queried = np.zeros(length, np.bool_), np.zeros(length, np.bool_)
    for each in shown.values():
        any_known[: len(each.known)] |= each.known
        queried[: len(each.known)] |= each.known & (each.rows["flags"] & QUERIED > 0)
    found = TimelineData(THRESHOLD, bool(queried.any()))
    frames = np.flatnonzero(any_known)
    found.frames = array("q", frames.tolist())
    if seconds is not None:
        found.seconds = array("d", seconds[frames[frames < len(seconds)]].tolist())
    found.queried = np.flatnonzero(queried).tolist()
    found.cuts = sorted(project.cuts)
    height, width = project.size
    for i, each in shown.items():
        rows = each.rows[each.known]
        found.objects[i] = ObjectSeries(
            array("q", rows["frame"].tolist()),
            array("f", rows["presence"].tolist()),
            array("f", rows["score"].tolist()),
            array("f", (rows["area"] / (height * width)).tolist()),
        )
    return found


def strips_json(project: Project, seconds: NDArray[np.float64]) -> dict[str, Any]:
    """The strips of the explanation as SVG text."""
    shown = all_shown(project)
    timeline = timeline_of(project, shown, seconds)
    if not timeline.frames:
        return {"has_concept": False, "threshold": THRESHOLD, "change": None, "objects": []}
    timeline.distance = array("f", _changes(project, shown, timeline.frames))
    axis = axis_of(timeline)
    objects = []
    for i, series in timeline.objects.items():
        name = project.objects[i].name
        _add_banks(project, i, series)
        bank = bank_strip(series.bank, axis, name) if series.bank else None
        curves = curve_strip(timeline, series, axis, name)
        objects.append({"object": i, "curves": str(curves), "bank": bank and str(bank)})
    return {
        "has_concept": timeline.has_concept,
        "threshold": THRESHOLD,
        "change": str(change_strip(timeline, axis)),
        "objects": objects,
    }


_MOST_READ = 1000  # frames whose results are read for the strips; of longer videos every n-th


def _changes(project: Project, shown: dict[int, Shown], frames: "array[int]") -> Iterator[float]:
    step = max(1, len(frames) // _MOST_READ)
    for place, frame in enumerate(frames):
        found = None
        if place % step == 0:
            results = (project.shown(i, frame) for i in shown)
            found = next(
                (r.scene_change for r in results if r and r.scene_change is not None), None
            )
        yield float("nan") if found is None else found


def _add_banks(project: Project, object_id: int, series: ObjectSeries) -> None:
    step = max(1, len(series.frames) // _MOST_READ)
    before = None
    for frame in series.frames[::step]:
        result = project.shown(object_id, frame)
        for keyframe in result.keyframes if result else ():
            spans = series.spans.setdefault(keyframe, [])
            first = spans.pop()[0] if spans and spans[-1][1] == before else frame
            spans.append((first, frame))
        before = frame


def explain_json(project: Project, frame: int, seconds: float | None) -> dict[str, Any]:
    """Why the objects are where they are on a frame."""
    change = None
    objects = []
    for i in sorted(project.objects):
        result = project.shown(i, frame)
        if result is None:
            continue
        state, shown = result_json(project, result)
        change = result.scene_change if result.scene_change is not None else change
        queried = bool(result.flags & QUERIED)
        objects.append(
            {
                **shown,
                "queried": queried,
                "keyframes": list(result.keyframes),
                "sentences": list(_sentences(state, result.area, result.presence, queried)),
            }
        )
    return {
        "frame": frame,
        "seconds": seconds,
        "cut": frame in project.cuts,
        "scene_change": change,
        "objects": objects,
    }


def _sentences(state: FrameState, area: int, presence: float, queried: bool) -> Iterator[str]:
    yield {
        FrameState.EMPTY: "Not tracked yet.",
        FrameState.TRACKED: "Found by tracking.",
        FrameState.STALE: "An edit has changed what leads here: track again.",
        FrameState.LOCKED: "Kept as it is by you.",
        FrameState.PROMPTED: "Given by you.",
        FrameState.DENIED: "You said that it is not there.",
    }[state]
    if queried:
        yield "The concept encoder was asked on this frame, with the keyframes below."
    if state in (FrameState.TRACKED, FrameState.STALE) and not area:
        yield f"The tracker believes that it is out of sight (presence {presence:.2f})."
