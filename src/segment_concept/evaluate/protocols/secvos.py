"""SeCVOS: J&F overall, and by segments of each video (first scene, second scene, the rest)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segment_concept.datasets.findings import Finding
from segment_concept.datasets.masks import SUFFIX, Layer
from segment_concept.datasets.types import Dataset, VideoEntry
from segment_concept.evaluate.pairing import (
    ScoringPlan,
    VideoTask,
    check_frames,
    open_predictions,
    read_pairs,
    refuse_missing,
)
from segment_concept.evaluate.protocols.appearance import ScoringWindow, record, watch
from segment_concept.evaluate.protocols.vos_benchmark import (
    layer_objects,
    region_and_boundary,
    require_visible,
)
from segment_concept.evaluate.scores import OVERALL, ObjectScore, VideoScores

# The paper's columns. This mapping is inferred from the evaluator's code.
PARTS: Mapping[str, str] = {
    "first_segment": "none",
    "second_segment": "single",
    "remain_segments": "multi",
}
_WHOLE_VIDEO_IF_UNLISTED = "first_segment"


@dataclass(frozen=True, slots=True)
class SeCVos:
    """SeCVOS as in its evaluator.

    "Overall" skips the first and last frame. A segment skips none and, as published, includes the
    video's first frame (the prompt) even if that is outside the segment. In the referring task,
    which has no prompt mask, "overall" skips nothing and there are no segments.
    """

    referring: bool = False
    window: ScoringWindow = ScoringWindow.SIGHT
    drop_unseen: bool = False
    official: bool = True

    @property
    def name(self) -> str:
        """As on the command line."""
        return "secvos-referring" if self.referring else "secvos"

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Videos with predictions for every frame of every object."""
        return check_frames(refuse_missing(open_predictions(dataset, predictions)), _all_frames)

    def score(self, task: VideoTask) -> VideoScores:
        """Objects of one video, overall and in each of its segments.

        Raises:
            InputError: an object appears in no frame of a part.
        """
        objects: list[ObjectScore] = []
        findings: list[Finding] = []
        parts = () if self.referring else parts_of(task.video)
        for truth, prediction in zip(task.video.layers, task.predictions or (), strict=True):
            pairs = read_pairs(truth, prediction, truth.frames)
            records = {frame_record.frame: frame_record for frame_record in record(pairs)}
            for part in (OVERALL, *parts):
                frames = self._frames(task.video, truth, part)
                collected = watch(records[frame] for frame in frames)
                scored, found = layer_objects(task.video.name, truth, collected, self.window, part)
                if not self.drop_unseen:
                    require_visible(task.video.name, truth, scored, "" if part == OVERALL else part)
                objects.extend(scored)
                findings.extend(found if part == OVERALL else ())
        return VideoScores(task.video.name, tuple(objects), tuple(findings))

    def _frames(self, video: VideoEntry, layer: Layer, part: str) -> tuple[str, ...]:
        if part != OVERALL:
            return frames_of(video, layer, part)
        return layer.frames if self.referring else layer.frames[1:-1]

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """J&F, J and F overall, then for none, single and multi (number of scene changes)."""
        segments = {*PARTS}
        row = dict(region_and_boundary([o for o in objects if o.part not in segments]))
        if self.referring:
            return row
        for part, column in PARTS.items():
            scores = region_and_boundary([o for o in objects if o.part == part])
            row |= {f"{measure} {column}": score for measure, score in scores.items()}
        return row


def _all_frames(video: VideoEntry, layer: Layer) -> Sequence[str]:
    return layer.frames


def parts_of(video: VideoEntry) -> list[str]:
    """The segments of a video; a video not listed in scene_info.json is one first segment."""
    return [p for p in PARTS if p in video.segments or p == _WHOLE_VIDEO_IF_UNLISTED]


def frames_of(video: VideoEntry, layer: Layer, part: str) -> tuple[str, ...]:
    """The frames of a segment, with the video's first frame in front."""
    if part not in video.segments:
        return layer.frames
    first, last = video.segments[part]
    low, high = f"{first:05d}{SUFFIX}", f"{last + 1:05d}{SUFFIX}"
    inside = tuple(frame for frame in layer.frames if low <= frame + SUFFIX < high)
    start = layer.frames[:1]
    return inside if inside[:1] == start else start + inside
