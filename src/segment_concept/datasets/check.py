"""Check a dataset folder: count its contents and find errors."""

from collections.abc import Iterable
from dataclasses import dataclass

from segment_concept.datasets.findings import Finding, error, errors_of, listed, warning
from segment_concept.datasets.survey import VideoSurvey, survey
from segment_concept.datasets.types import Dataset


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts and findings."""

    dataset: Dataset
    pictures: int
    masks: int
    objects: int
    late_objects: int  # objects that are absent from the first annotated frame
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return not errors_of(self.findings)


def survey_dataset(dataset: Dataset) -> Iterable[VideoSurvey]:
    """Survey every video, one after the other; reads all masks."""
    return (survey(video, dataset.benchmark) for video in dataset.videos)


def check_dataset(dataset: Dataset, surveys: Iterable[VideoSurvey]) -> CheckReport:
    """Combine the surveys of all videos."""
    pictures = masks = objects = late = 0
    findings: list[Finding] = []
    silent: list[str] = []
    for seen in surveys:
        pictures += len(seen.video.pictures)
        masks += seen.masks
        objects += len(seen.visible)
        late += sum(not row[0] for row in seen.visible.values() if row)
        findings.extend(seen.findings)
        if not seen.video.pictures and seen.video.movie is None:
            silent.append(seen.video.name)
    findings.extend(_pictures_missing(dataset, silent))
    if not dataset.truth_is_complete:
        findings.append(
            warning(
                "only the first mask of each object is available; this split can be predicted and "
                "submitted, but not scored"
            )
        )
    return CheckReport(dataset, pictures, masks, objects, late, tuple(findings))


def _pictures_missing(dataset: Dataset, silent: list[str]) -> list[Finding]:
    if not silent:
        return []
    if len(silent) == len(dataset.videos):
        return [warning("there are no images: masks can be scored, but nothing can be predicted")]
    return [error(f"{len(silent)} videos have no images: {listed(silent)}")]
