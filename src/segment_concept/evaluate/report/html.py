"""report.html: one file, with its plots and pictures in it."""

from collections.abc import Sequence
from html import escape

from segment_concept.evaluate.report.breakdowns import Row
from segment_concept.evaluate.report.contact_sheets import Sheet
from segment_concept.evaluate.report.markdown import cost_rows, percent, provenance_rows
from segment_concept.evaluate.report.summary import ObjectRow, Report
from segment_concept.html.charts import Axes, bars, columns, line
from segment_concept.html.page import facts, page, section, table_html

_MOST_BARS = 60  # with more videos than this, the curve of the sorted scores says more


def to_html(report: Report, sheets: Sequence[Sheet]) -> str:
    """The whole report as a page of its own."""
    manifest = report.manifest
    parts = [_warnings(report)]
    if report.headline:
        kind = "official protocol" if report.official else "not official"
        parts += [
            f'<p class="soft">Scored by {escape(report.protocol)} ({kind}); all scores in %.</p>',
            _cards(report),
            section("By split", _rows(report, report.splits)),
            section("By video", _video_plot(report) + _rows(report, report.videos)),
            _time(report),
            _cuts(report),
            _return(report),
            _sheets(sheets),
            section("Objects", _objects(report)),
        ]
    else:
        parts.append("<p>The full truth of this split is not here, so nothing was scored.</p>")
    parts += [section("Cost", facts(cost_rows(report))), _remarks(report)]
    parts.append(section("Provenance", facts(provenance_rows(report))))
    return page(f"{manifest.recipe} on {manifest.benchmark} ({manifest.split})", "".join(parts))


def _warnings(report: Report) -> str:
    if report.is_whole:
        return ""
    lines = "".join(f"<li><b>{escape(v)}</b>: {escape(why)}</li>" for v, why in report.broken)
    return (
        f'<div class="alarm"><b>{len(report.broken)} of {len(report.manifest.videos)} videos have '
        f"no result: this is not the dataset's score.</b><ul>{lines}</ul></div>"
    )


def _cards(report: Report) -> str:
    cards = "".join(
        f'<div class="card"><b>{percent(value)}</b><span>{escape(name)}</span></div>'
        for name, value in report.headline.items()
    )
    return f'<div class="cards">{cards}</div>'


def _heads(report: Report) -> list[str]:
    return [report.measure, "J", report.measure.partition("&")[2]]


def _rows(report: Report, rows: Sequence[Row]) -> str:
    cells = ([r.name, str(r.objects), *map(percent, (r.both, r.region, r.boundary))] for r in rows)
    return table_html(["", "objects", *_heads(report)], cells)


def _video_plot(report: Report) -> str:
    ranked = sorted(report.videos, key=lambda row: (-row.both, row.name))
    title = f"{report.measure} of each video"
    if len(ranked) <= _MOST_BARS:
        return bars([(row.name, row.both) for row in ranked], title)
    points = [(float(i), row.both) for i, row in enumerate(ranked, 1)]
    return line(points, Axes("videos, best first", f"{report.measure} (%)"), title)


def _time(report: Report) -> str:
    if not report.over_time:
        return ""
    axes = Axes("share of the object's scored frames (%)", f"{report.measure} (%)", end=100)
    return section("Over time", line(report.over_time, axes, f"{report.measure} over time"))


def _cuts(report: Report) -> str:
    if not report.by_cuts:
        return ""
    rows = [(name, score) for name, _, score in report.by_cuts]
    axes = Axes("cuts so far, by the shot detector", f"{report.measure} (%)")
    counts = table_html(
        ["cuts so far", "frames", report.measure],
        ([name, str(count), percent(score)] for name, count, score in report.by_cuts),
    )
    return section("After cuts", columns(rows, axes, f"{report.measure} by cuts") + counts)


def _return(report: Report) -> str:
    back = report.after_return
    if back is None:
        return ""
    words = (
        f"<p>{back.objects} objects leave and come back. Mean {escape(report.measure)} on frames "
        f"that show them: {percent(back.before)} before they first leave (dashed), "
        f"{percent(back.after)} after they have come back.</p>"
    )
    axes = Axes("frames with the object since its return", f"{report.measure} (%)")
    return section(
        "After reappearance",
        words + line(back.curve, axes, f"{report.measure} after reappearance", back.before),
    )


def _sheets(sheets: Sequence[Sheet]) -> str:
    if not sheets:
        return ""
    figures = "".join(_figure(sheet) for sheet in sheets)
    words = "<p>Above the truth (green), below the prediction (red).</p>"
    return section("Weakest objects", words + figures)


def _figure(sheet: Sheet) -> str:
    name = f"{sheet.video}, object {sheet.object_name}"
    frames = ", ".join(f"{frame} ({percent(score)})" for frame, score in sheet.frames)
    return (
        f"<figure><figcaption><b>{escape(name)}</b>: {percent(sheet.score)}; frames "
        f'{escape(frames)}</figcaption><img alt="{escape(name)}" '
        f'src="data:image/jpeg;base64,{sheet.jpeg}"></figure>'
    )


def _objects(report: Report) -> str:
    ranked = sorted(report.objects, key=lambda o: (o.both, o.video, o.name))
    head = ["video / object", "group", "frames", *_heads(report)]
    return table_html(head, (_object_cells(row) for row in ranked))


def _object_cells(row: ObjectRow) -> list[str]:
    scores = map(percent, (row.both, row.region, row.boundary))
    return [f"{row.video} / {row.name}", row.group or "-", str(row.frames), *scores]


def _remarks(report: Report) -> str:
    if not report.findings:
        return ""
    lines = "".join(f"<li>{escape(f'{f.severity.value}: {f}')}</li>" for f in report.findings)
    return section("Remarks", f"<ul>{lines}</ul>")
