"""Write the files of a report."""

import json
from collections.abc import Mapping
from pathlib import Path

from segment_concept.datasets.survey import VideoSurvey, survey
from segment_concept.datasets.types import Dataset
from segment_concept.evaluate.report.contact_sheets import worst_sheets
from segment_concept.evaluate.report.html import to_html
from segment_concept.evaluate.report.markdown import to_markdown
from segment_concept.evaluate.report.summary import Report, make_report, to_json
from segment_concept.evaluate.run_folder import RunFolder, read_manifest
from segment_concept.evaluate.scores import Scores
from segment_concept.runtime.files import disk_errors, write_atomic


def write_report(run: RunFolder, dataset: Dataset, scores: Scores | None, command: str) -> Report:
    """Write report.md, report.json and report.html into a run's folder; this reads all annotations.

    Raises:
        InputError: it is not a run folder, or a file in it is damaged.
        OutputError: the folder cannot be written.
    """
    surveys: Mapping[str, VideoSurvey] = {}
    if scores is not None:
        scored = {o.video for o in scores.objects}
        videos = [video for video in dataset.videos if video.name in scored]
        surveys = {video.name: survey(video, dataset.benchmark) for video in videos}
    report = make_report(run, read_manifest(run.path), scores, surveys, command)
    sheets = worst_sheets(dataset, run.masks, scores.objects) if scores is not None else ()
    content = json.dumps(to_json(report), indent=1, allow_nan=False, ensure_ascii=False)
    write_texts(
        run.path,
        {
            "report.md": to_markdown(report),
            "report.json": content + "\n",
            "report.html": to_html(report, sheets),
        },
    )
    return report


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write text files atomically. Raises OutputError if the folder cannot be written."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomic(folder / name, text)
