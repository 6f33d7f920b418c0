"""report.md: the report as text."""

import math
from collections.abc import Iterable, Mapping, Sequence

from segment_concept.evaluate.report.breakdowns import Row
from segment_concept.evaluate.report.summary import Report
from segment_concept.runtime.names import printable

_WORST = 20  # objects in the table of the weakest objects


def percent(value: float | None) -> str:
    """A share of 1 in percent; a dash if undefined."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; all columns but the first are numbers."""
    titles = " | ".join(map(_cell, head))
    lines = [f"| {titles} |", "|" + " --- |" + " ---: |" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(_cell(c) for c in row) + " |" for row in rows), ""]


class Code(str):
    """Text of a table that is shown in the letters of code."""

    __slots__ = ()


def escaped(text: str) -> str:
    """Escape text of any origin, such as the name of a video, for Markdown.

    HTML, links, code and columns of tables stay letters. Control characters are written out.
    """
    shown = printable(text.replace("\n", " ")).replace("\\", "\\\\")
    for character in "|`[":
        shown = shown.replace(character, f"\\{character}")
    return shown.replace("<", "&lt;")


def _cell(text: str) -> str:
    if not isinstance(text, Code):
        return escaped(text)
    shown = printable(text.replace("\n", " "))
    return "`" + shown.replace("`", "'").replace("|", "\\|") + "`"


def to_markdown(report: Report) -> str:
    """The report as Markdown."""
    manifest = report.manifest
    title = f"{manifest.recipe} on {manifest.benchmark} ({manifest.split})"
    lines = [f"# {escaped(title)}", ""]
    lines += _warnings(report)
    if report.headline:
        kind = "official protocol" if report.official else "not official"
        lines += [f"Protocol: {report.protocol} ({kind}). All scores in %.", ""]
        lines += table(["", *report.headline], [["all", *map(percent, report.headline.values())]])
        lines += ["## By split", "", *_rows(report, report.splits)]
        lines += ["## By video", "", *_rows(report, report.videos)]
        lines += _weakest(report)
        lines += _sides(report)
    else:
        lines += [
            "The full annotations of this split are not available here, so nothing was scored.",
            "",
        ]
    return "\n".join([*lines, *_cost(report), *_provenance(report), *_remarks(report)]) + "\n"


def _warnings(report: Report) -> list[str]:
    if report.is_whole:
        return []
    count = len(report.broken)
    total = len(report.manifest.videos)
    what = (
        f"**{count} of {total} videos have no result: this is not the score of the whole dataset.**"
    )
    return [what, "", *table(["video", "why"], report.broken)]


def _rows(report: Report, rows: Iterable[Row]) -> list[str]:
    boundary = report.measure.partition("&")[2]
    cells = ([r.name, str(r.objects), *map(percent, (r.both, r.region, r.boundary))] for r in rows)
    return table(["", "objects", report.measure, "J", boundary], cells)


def _weakest(report: Report) -> list[str]:
    worst = sorted(report.objects, key=lambda o: (o.both, o.video, o.name))[:_WORST]
    cells = (
        [f"{o.video} / {o.name}", str(o.frames), *map(percent, (o.both, o.region, o.boundary))]
        for o in worst
    )
    head = ["video / object", "frames", report.measure, "J", report.measure.partition("&")[2]]
    return ["## Weakest objects", "", *table(head, cells)]


def _sides(report: Report) -> list[str]:
    lines: list[str] = []
    if report.by_cuts:
        rows = [[name, str(count), percent(score)] for name, count, score in report.by_cuts]
        lines += ["## By cuts so far", "", *table(["cuts", "frames", report.measure], rows)]
    if report.after_return is not None:
        back = report.after_return
        row = [str(back.objects), percent(back.before), percent(back.after)]
        head = ["objects", "before disappearing", "after reappearing"]
        lines += ["## After reappearance", "", *table(head, [row])]
    return lines


def cost_rows(report: Report) -> list[tuple[str, str]]:
    """Time and memory of the run as (name, value) rows."""
    cost = report.cost
    rows = [
        ("frames", f"{cost.frames}"),
        ("seconds of computation", f"{cost.seconds:.1f}"),
        ("frames per second (one worker)", "-" if math.isnan(cost.rate) else f"{cost.rate:.2f}"),
        ("frames with a concept query", f"{cost.concept_calls}"),
        ("peak memory", _mebibytes(cost.memory)),
        ("device", ", ".join(cost.devices) or "-"),
    ]
    if cost.gpu_memory is not None:
        rows.insert(-1, ("peak GPU memory", _mebibytes(cost.gpu_memory)))
    return rows


def _mebibytes(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} MiB"


def _cost(report: Report) -> list[str]:
    return ["## Cost", "", *table(["", ""], cost_rows(report))]


def provenance_rows(report: Report) -> list[tuple[str, str]]:
    """Origin of the numbers as (name, value) rows."""
    manifest = report.manifest
    rows: list[tuple[str, str]] = [("command", report.command)]
    rows += [(key, str(value)) for key, value in manifest.tracker.items()]
    rows += [
        ("objects", "tracked separately" if manifest.alone else "tracked together"),
        ("mode", "offline: every video tracked twice" if manifest.offline else "online"),
        ("dataset", f"{manifest.benchmark}, split {manifest.split}, {len(manifest.videos)} videos"),
        ("dataset fingerprint", manifest.dataset),
    ]
    return rows + _listed(manifest.versions)


def _listed(versions: Mapping[str, str]) -> list[tuple[str, str]]:
    return [("versions", ", ".join(f"{name} {number}" for name, number in versions.items()))]


def _provenance(report: Report) -> list[str]:
    rows = ([name, Code(value)] for name, value in provenance_rows(report))
    return ["## Provenance", "", *table(["", ""], rows)]


def _remarks(report: Report) -> list[str]:
    if not report.findings:
        return []
    return ["## Remarks", "", *(escaped(f"- {f.severity.value}: {f}") for f in report.findings)]
