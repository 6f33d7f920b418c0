"""explain.html: the video and below it what happened, on one time axis."""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from segment_concept.html.page import page, section
from segment_concept.ops.color import color_of
from segment_concept.pipeline.journal import JournalIndex
from segment_concept.pipeline.timeline.chart import (
    LEFT,
    RIGHT,
    WIDTH,
    axis_of,
    bank_strip,
    change_strip,
    curve_strip,
    tick_strip,
)
from segment_concept.pipeline.timeline.look import LOOK, SCRIPT
from segment_concept.pipeline.timeline.series import ObjectSeries, TimelineData, read_timeline
from segment_concept.pipeline.timeline.thumbnails import thumbnail_path
from segment_concept.runtime.files import write_atomic

_MOST_SAMPLES = 2000  # frames whose values the pointer can read; of more, every n-th
_DIGITS = 3
Thumbnails = Callable[[int, int], bytes | None]  # (object, frame) -> JPEG file


def explain_html(title: str, story: TimelineData, thumbnails: Thumbnails, video: str | None) -> str:
    """The page. Nothing outside is loaded but `video`, the name of a file beside it.

    It can be read, and its links followed, without JavaScript.
    """
    axis = axis_of(story)
    parts = [_cards(story), _stage(video)]
    words = _about_change(story)
    strips = [_titled("Scene change", words, change_strip(story, axis) + tick_strip(story, axis))]
    for object_id, strand in story.objects.items():
        strips.append(_object(story, object_id, strand))
    parts.append(f'<div class="timeline">{"".join(strips)}</div>')
    for object_id, strand in story.objects.items():
        parts.append(_keyframes(story, object_id, strand, thumbnails, video))
    parts.append(_data(story))
    return page(title, "".join(parts), LOOK)


def _cards(story: TimelineData) -> str:
    figures = {"frames": len(story.frames), "objects": len(story.objects), "cuts": len(story.cuts)}
    if story.has_concept:
        figures["concept asked"] = len(story.asked)
    cards = "".join(
        f'<div class="card"><b>{value}</b><span>{name}</span></div>'
        for name, value in figures.items()
    )
    return f'<div class="cards">{cards}</div>'


def _stage(video: str | None) -> str:
    """The video, and a line that the script fills with the values of its frame."""
    readout = '<p class="readout script" id="readout">&nbsp;</p>'
    if video is None:
        return f'<div class="stage">{readout}</div>'
    player = f'<video src="{escape(video)}" controls muted playsinline preload="auto"></video>'
    hint = (
        '<p class="soft hint script">Move along the timeline below, or press the arrow keys, to '
        "go through the video.</p>"
    )
    return f'<div class="stage">{player}{readout}</div>{hint}'


def _about_change(story: TimelineData) -> str:
    words = (
        "Distance of each frame's colors to those of the frame played before. Above the dashed "
        f"threshold of {story.threshold:g}, and where the trigger saw one by another sign, it "
        f'counts as a cut (<i class="key cut"></i>).'
    )
    if story.has_concept:
        return words + ' <i class="key flag"></i> the concept encoder was asked.'
    return words + " This recipe has no concept encoder, so nothing was asked."


def _object(story: TimelineData, object_id: int, strand: ObjectSeries) -> str:
    axis, name = axis_of(story), f"object {object_id}"
    largest = 100 * max(strand.share, default=0.0)
    words = (
        '<i class="key presence"></i> object score &ensp;<i class="key quality"></i> predicted IoU '
        f'&ensp;<i class="key area"></i> area (up to {largest:.2g} % of the picture)'
    )
    strips = curve_strip(story, strand, axis, name)
    if story.has_concept and strand.bank:
        words += ' &ensp;<i class="key stay"></i> keyframes in its bank, below'
        strips += bank_strip(strand.bank, axis, name)
    return _titled(_name(object_id), words, strips + tick_strip(story, axis))


def _titled(title: str, words: str, strips: str) -> str:
    return (
        f'<section><h2>{title}</h2><p class="soft">{words}</p>'
        f'<div class="scroll"><div class="strips">{strips}</div></div></section>'
    )


def _name(object_id: int) -> str:
    red, green, blue = color_of(object_id)
    return f'<i class="swatch" style="background:rgb({red} {green} {blue})"></i>Object {object_id}'


def _keyframes(
    story: TimelineData,
    object_id: int,
    strand: ObjectSeries,
    thumbnails: Thumbnails,
    video: str | None,
) -> str:
    """Pictures of the frames from which the concept was formed."""
    stays = strand.bank
    if not story.has_concept or not stays:
        return ""
    frames = list(dict.fromkeys(stay.keyframe for stay in stays))
    figures = []
    for frame in frames:
        own = [stay for stay in stays if stay.keyframe == frame]
        stayed = ", ".join(f"{stay.first} to {stay.last}" for stay in own)
        last = " (to the end)" if own[-1].last == strand.frames[-1] else ""
        picture = _picture(thumbnails(object_id, frame), frame)
        if video is not None and frame in story.frames:
            at = _seconds(story)[story.frames.index(frame)]
            picture = f'<a href="{escape(video)}#t={at:g}" data-frame="{frame}">{picture}</a>'
        figures.append(
            f"<figure>{picture}<figcaption><b>frame {frame}</b><br>"
            f"in the bank {stayed}{last}</figcaption></figure>"
        )
    inside = f'<div class="bank">{"".join(figures)}</div>'
    return section(f"Keyframes of object {object_id}", inside)


def _picture(jpeg: bytes | None, frame: int) -> str:
    if jpeg is None:
        return '<span class="blank">not on the timeline</span>'
    data = base64.b64encode(jpeg).decode()
    return f'<img alt="keyframe {frame}" src="data:image/jpeg;base64,{data}">'


def _seconds(story: TimelineData) -> list[float]:
    """When each frame is on screen in the overlay video, which begins with the first of them."""
    start = story.seconds[0]
    return [round(s - start, _DIGITS) for s in story.seconds]


def _data(story: TimelineData) -> str:
    """What the script reads; a `<` in it could end the element."""
    step = math.ceil(len(story.frames) / _MOST_SAMPLES)
    places = {frame: i for i, frame in enumerate(story.frames) if i % step == 0}
    objects = {
        str(object_id): [_values(strand, places, len(places), step, row) for row in _ROWS]
        for object_id, strand in story.objects.items()
    }
    content: Mapping[str, Any] = {
        "axis": {"width": WIDTH, "left": LEFT, "right": RIGHT, "span": story.span},
        "frames": list(places),
        "seconds": _seconds(story)[::step],
        "distance": _plain(story.distance[::step]),
        "objects": objects,
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script><script>{SCRIPT}</script>'


_ROWS = ("presence", "quality", "share")


def _values(
    strand: ObjectSeries, places: Mapping[int, int], count: int, step: int, row: str
) -> list[float | None]:
    values: list[float | None] = [None] * count
    for frame, value in zip(strand.frames, getattr(strand, row), strict=True):
        if frame in places:
            values[places[frame] // step] = round(value, _DIGITS + 2)
    return values


def _plain(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(v) else round(v, _DIGITS) for v in values]


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
    story = read_timeline(journal, request)
    if not story.frames:
        return

    def picture(object_id: int, frame: int) -> bytes | None:
        path = thumbnail_path(state, object_id, frame)
        return path.read_bytes() if path.exists() else None

    video = "overlay.mp4" if "overlay" in request["outputs"] else None
    recipe = (request.get("recipe") or {}).get("name")
    title = request["video"]["name"] + (f", tracked by {recipe}" if recipe else "")
    write_atomic(target, explain_html(title, story, picture, video).encode())
