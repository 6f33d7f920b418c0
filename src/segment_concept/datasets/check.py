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
    pictures = masks = objects = late_objects = 0
    findings: list[Finding] = []
    without_images: list[str] = []
    for video_survey in surveys:
        pictures += len(video_survey.video.pictures)
        masks += video_survey.masks
        objects += len(video_survey.visible)
        late_objects += sum(not row[0] for row in video_survey.visible.values() if row)
        findings.extend(video_survey.findings)
        if not video_survey.video.pictures and video_survey.video.movie is None:
            without_images.append(video_survey.video.name)
    findings.extend(_pictures_missing(dataset, without_images))
    if not dataset.truth_is_complete:
        findings.append(
            warning(
                "only the first mask of each object is available; this split can be predicted and "
                "submitted, but not scored"
            )
        )
    return CheckReport(dataset, pictures, masks, objects, late_objects, tuple(findings))


def _pictures_missing(dataset: Dataset, without_images: list[str]) -> list[Finding]:
    if not without_images:
        return []
    if len(without_images) == len(dataset.videos):
        return [warning("there are no images: masks can be scored, but nothing can be predicted")]
    return [error(f"{len(without_images)} videos have no images: {listed(without_images)}")]
