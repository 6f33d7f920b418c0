"""From a run's files to explain.html."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segment_concept.video.explain.page import explain_html
from segment_concept.video.explain.story import read_story
from segment_concept.video.explain.witness import thumbnail_path
from segment_concept.video.journal import JournalIndex
from segment_concept.video.png import write_whole


def write_explanation(
    target: Path, state: Path, journal: JournalIndex, request: Mapping[str, Any]
) -> None:
    """Write the page for the frames that there are; nothing where there is none.

    Args:
        target: the file; a video that it plays lies beside it as overlay.mp4.
        state: the folder in which the run kept pictures of its keyframes.
        journal: what was found.
        request: what the run was for; of it the recipe's trigger and the video are told.

    Raises:
        OSError: the disk is full; what was there before is still there.
    """
    story = read_story(journal, request)
    if not story.frames:
        return

    def picture(object_id: int, frame: int) -> bytes | None:
        path = thumbnail_path(state, object_id, frame)
        return path.read_bytes() if path.exists() else None

    video = "overlay.mp4" if "overlay" in request["outputs"] else None
    recipe = (request.get("recipe") or {}).get("name")
    title = request["video"]["name"] + (f", tracked by {recipe}" if recipe else "")
    write_whole(target, explain_html(title, story, picture, video).encode())
