"""report.html: one file that contains its charts and pictures."""

from collections.abc import Sequence

from markupsafe import Markup

from segment_concept.evaluate.report.breakdowns import Row
from segment_concept.evaluate.report.contact_sheets import Sheet
from segment_concept.evaluate.report.markdown import cost_rows, percent, provenance_rows
from segment_concept.evaluate.report.summary import ObjectRow, Report
from segment_concept.html.charts import Axes, bars, columns, line
from segment_concept.html.page import render

_MOST_BARS = 60  # for more videos, a curve of the sorted scores is drawn


def to_html(report: Report, sheets: Sequence[Sheet]) -> str:
    """The report as a page."""
    manifest, measure = report.manifest, report.measure
    ranked = sorted(report.objects, key=lambda o: (o.both, o.video, o.name))
    return render(
        "report.html",
        title=f"{manifest.recipe} on {manifest.benchmark} ({manifest.split})",
        report=report,
        percent=percent,
        headline={name: percent(value) for name, value in report.headline.items()},
        score_head=["", "objects", measure, "J", measure.partition("&")[2]],
        splits=list(map(_cells, report.splits)),
        videos=list(map(_cells, report.videos)),
        objects=list(map(_object_cells, ranked)),
        cuts=[[name, str(count), percent(score)] for name, count, score in report.by_cuts],
        video_chart=_video_chart(report),
        time_chart=_time_chart(report),
        cuts_chart=_cuts_chart(report),
        return_chart=_return_chart(report),
        sheets=sheets,
        cost=cost_rows(report),
        provenance=provenance_rows(report),
    )


def _cells(row: Row) -> list[str]:
    return [row.name, str(row.objects), *map(percent, (row.both, row.region, row.boundary))]


def _object_cells(row: ObjectRow) -> list[str]:
    scores = map(percent, (row.both, row.region, row.boundary))
    return [f"{row.video} / {row.name}", row.group or "-", str(row.frames), *scores]


def _video_chart(report: Report) -> Markup:
    ranked = sorted(report.videos, key=lambda row: (-row.both, row.name))
    title = f"{report.measure} of each video"
    if len(ranked) <= _MOST_BARS:
        return bars([(row.name, row.both) for row in ranked], title)
    points = [(float(i), row.both) for i, row in enumerate(ranked, 1)]
    return line(points, Axes("videos, best first", f"{report.measure} (%)"), title)


def _time_chart(report: Report) -> Markup | None:
    if not report.over_time:
        return None
    axes = Axes("position in the object's scored frames (%)", f"{report.measure} (%)", end=100)
    return line(report.over_time, axes, f"{report.measure} over time")


def _cuts_chart(report: Report) -> Markup:
    rows = [(name, score) for name, _, score in report.by_cuts]
    axes = Axes("cuts so far, as detected by the trigger", f"{report.measure} (%)")
    return columns(rows, axes, f"{report.measure} by cuts")


def _return_chart(report: Report) -> Markup | None:
    back = report.after_return
    if back is None:
        return None
    axes = Axes("frames with the object since it reappeared", f"{report.measure} (%)")
    return line(back.curve, axes, f"{report.measure} after reappearance", back.before)
