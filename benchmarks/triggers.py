"""How well triggers find real cuts, what they cost, and what quality follows.

    python benchmarks/triggers.py CLIPS [--film VIDEO CUTS]... [--triggers LIST] [--recipe NAME]

CLIPS holds clips cut from real video, and clips.json with the first frames of their shots (`cuts`)
and their `split`. A film comes with a list of its cuts, or `none`. A trigger is written as on the
command line, `+` between several of which any asks, and /N for N frames of rest after a call.

A cut is found by a call on its frame or one of the two after it; a call elsewhere is false. Times
are CPU time of one thread, without decoding; those of triggers that read ahead include that, and
loading the network. With a recipe the clips are tracked too, from the first frame's mask, and
scored as `quality.py` does; without one `uncertain` cannot be measured. Where the recipe has no
concept encoder, calls are counted and answered with nothing.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import quality
import torch

from segment_concept import Frame
from segment_concept.checkpoints.load import load_tracker
from segment_concept.pipeline.triggers import TriggerSpec, prepare_trigger
from segment_concept.shots.cut_lists import read_cuts
from segment_concept.tracking.concept import ConceptRequest
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import (
    FrameDescriptor,
    Never,
    Trigger,
    TriggerContext,
    TriggerDecision,
)
from segment_concept.video.open import open_video
from segment_concept.video.source import VideoInfo, VideoSource

WITHIN = 2  # frames after a cut on which a call still finds it
DEFAULT = "never,published,fast,adaptive,transnet,uncertain,published/12,adaptive+uncertain"
DEFAULT += ",transnet+uncertain"


@dataclass
class Held:
    """A short video in memory, so that decoding it is not measured."""

    name: str
    info: VideoInfo
    cuts: frozenset[int]
    held: list[Frame]

    def frames(self, start: int = 0) -> Iterator[Frame]:
        return iter(self.held[start:])


@dataclass
class FrameAttention:
    """A trigger whose calls and time are written down."""

    trigger: Trigger
    seconds: float = 0.0
    calls: list[int] = field(default_factory=list)

    def describe(self, frame: Frame) -> FrameDescriptor:
        began = time.process_time()
        describe = self.trigger.describe(frame)
        self.seconds += time.process_time() - began
        return describe

    def decide(self, context: TriggerContext) -> TriggerDecision:
        began = time.process_time()
        decision = self.trigger.decide(context)
        self.seconds += time.process_time() - began
        if decision.query:
            self.calls.append(context.frame_index)
        return decision


class Silent:
    """A concept encoder that knows nothing."""

    def encode(self, requests: Sequence[ConceptRequest], query: Frame, features: Any) -> list[None]:
        return [None] * len(requests)


@dataclass
class Score:
    """Of one trigger over many videos."""

    frames: int = 0
    cuts: int = 0
    calls: int = 0
    found: int = 0
    false: int = 0
    seconds: float = 0.0

    def add(self, video: Held, heard: FrameAttention) -> None:
        near = [frozenset(range(cut, cut + WITHIN + 1)) for cut in video.cuts]
        self.frames += len(video.held)
        self.cuts += len(near)
        self.calls += len(heard.calls)
        self.found += sum(not cut.isdisjoint(heard.calls) for cut in near)
        self.false += sum(not any(call in cut for cut in near) for call in heard.calls)
        self.seconds += heard.seconds

    def row(self) -> list[str]:
        share = f"{self.calls} ({100 * self.calls / max(self.frames, 1):.1f} %)"
        missed = self.cuts - self.found
        each = 1000 * self.seconds / max(self.frames, 1)
        return [share, f"{self.found} of {self.cuts}", f"{missed}", f"{self.false}", f"{each:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--film", nargs=2, action="append", default=[], metavar=("VIDEO", "CUTS"))
    parser.add_argument("--triggers", default=DEFAULT)
    parser.add_argument("--recipe", help="track the clips with it as well")
    parser.add_argument("--only", help="comma-separated clips")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clips = json.loads((options.clips / "clips.json").read_text())
    names = options.only.split(",") if options.only else sorted(clips)
    triggers = options.triggers.split(",")
    for video, cuts in options.film:
        source = open_video(video)
        film = held(source, frozenset() if cuts == "none" else read_cuts(Path(cuts), source))
        print(f"\n{film.name}: {len(film.held)} frames, {len(film.cuts)} cuts\n")
        heading(())
        for trigger in triggers:
            if "uncertain" not in trigger:
                score = Score()
                score.add(film, listen(film, trigger))
                line(trigger, score.row())
    with_recipe = f", tracked by {options.recipe}" if options.recipe else ""
    print(f"\n{len(names)} clips of {options.clips}{with_recipe}\n")
    tracker = load_tracker(options.recipe) if options.recipe else None
    heading(splits({name: clips[name] for name in names}) if tracker else ())
    for trigger in triggers:
        if tracker or "uncertain" not in trigger:
            line(trigger, over_clips(options.clips, clips, names, trigger, tracker))


def over_clips(
    data: Path,
    clips: dict[str, Any],
    names: Sequence[str],
    trigger: str,
    tracker: Tracker | None,
) -> list[str]:
    """One row of the table."""
    score, tallies = Score(), {}
    for name in names:
        clip = held(open_video(data / "JPEGImages" / name), frozenset(clips[name]["cuts"]))
        if tracker is None:
            heard = listen(clip, trigger)
        else:
            heard = prepared(clip, trigger)
            concept = tracker.concept or Silent()
            asking = replace(tracker, trigger=heard, concept=concept)
            tallies[name] = quality.track(asking, data, name, "mask", quality.follow_online)
        score.add(clip, heard)
    if tracker is None:
        return score.row()
    with redirect_stdout(StringIO()):
        figures = quality.report(tallies, clips)
    by_split: list[dict[str, float]] = [
        figures[f"mean {split}"]  # type: ignore[misc]
        for split in splits({name: clips[name] for name in names})
    ]
    return score.row() + [f"{100 * split['J&F']:.1f}" for split in by_split]


def splits(clips: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted({clip["split"] for clip in clips.values()}))


def held(source: VideoSource, cuts: frozenset[int]) -> Held:
    return Held(source.name, source.info, cuts, list(source.frames()))


def prepared(video: Held, trigger: str) -> FrameAttention:
    """The trigger for a video; reading ahead is counted."""
    names, _, rest = trigger.partition("/")
    asking = TriggerSpec(tuple(names.split("+")), cooldown=int(rest or 0))
    began = time.process_time()
    made = prepare_trigger(asking, video).make()  # type: ignore[arg-type]
    return FrameAttention(made, time.process_time() - began)


def listen(video: Held, trigger: str) -> FrameAttention:
    """What a trigger says of a video in which nothing is tracked."""
    heard = prepared(video, trigger)
    if isinstance(heard.trigger, Never):
        return heard
    before, state, since, queried = None, (), 0, False
    for frame in video.held:
        describe, since = heard.describe(frame), since + 1
        if before is not None:
            decision = heard.decide(
                TriggerContext(
                    frame_index=frame.index,
                    before=before,
                    now=describe,
                    frames_since_query=since,
                    previous_index=frame.index - 1,
                    queried_before=queried,
                    state=state,
                )
            )
            state, queried = decision.state, queried or decision.query
            since = 0 if decision.query else since
        before = describe
    return heard


def heading(splits: Sequence[str]) -> None:
    columns = ["trigger", "calls", "cuts found", "missed", "false calls", "ms a frame"]
    columns += [f"J&F {split}" for split in splits]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def line(trigger: str, cells: Sequence[str]) -> None:
    print(f"| {' | '.join([trigger, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
