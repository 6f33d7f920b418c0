"""Write a comparison of runs as Markdown, HTML and JSON."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from markupsafe import Markup

from segment_concept.datasets.findings import listed
from segment_concept.evaluate.report.comparison import RESAMPLES, Against, Comparison
from segment_concept.evaluate.report.markdown import escaped, percent, table
from segment_concept.evaluate.report.summary import plain
from segment_concept.evaluate.report.write import write_texts
from segment_concept.html.charts import differences
from segment_concept.html.page import render

# With fewer videos a percentile bootstrap covers the mean too seldom: 5 values have 126 different
# resamples, and two have 3.
FEWEST = 5
_MOST_BARS = 80  # for more videos, only the largest losses and gains are drawn


def signed(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}"


def verdict(against: Against, first: str) -> str:
    """One sentence about the mean difference and its interval, if there are enough videos."""
    videos = len(against.videos)
    if videos < FEWEST:
        return (
            f"{signed(against.mean)} points between {against.name} and {first}; {videos} videos "
            f"are too few to say which is better: compare at least {FEWEST}"
        )
    text = f"{signed(against.mean)} points [{signed(against.low)}, {signed(against.high)}]"
    if against.low <= 0 <= against.high:
        return f"no significant difference between {against.name} and {first}: {text}"
    better = "better" if against.mean > 0 else "worse"
    return f"{against.name} is {better} than {first}: {text}"


def to_markdown(found: Comparison) -> str:
    """The comparison as Markdown."""
    kind = "official protocol" if found.official else "not official"
    lines = [escaped(f"# {', '.join(found.names)} on {found.benchmark}"), ""]
    lines += [f"Protocol: {found.protocol} ({kind}). Scores in %.", ""]
    lines += table(*_headlines(found))
    if found.left_out:
        left_out = escaped(listed(found.left_out, 20))
        lines += [f"Left out because not every run has them: {left_out}.", ""]
    for against in found.against:
        lines += [escaped(f"## {against.name} compared with {found.names[0]}"), ""]
        named = replace(against, name=escaped(against.name))
        summary = _summary(named, escaped(found.names[0]))
        lines += [summary, "", *table(*_videos(against, found))]
    return "\n".join(lines)


def _headlines(found: Comparison) -> tuple[list[str], list[list[str]]]:
    heads = list(dict.fromkeys(name for headline in found.headlines for name in headline))
    named = zip(found.names, found.headlines, strict=True)
    return ["", *heads], [[n, *(percent(h.get(head)) for head in heads)] for n, h in named]


def _videos(against: Against, found: Comparison) -> tuple[list[str], list[list[str]]]:
    head = ["video", "objects", found.names[0], against.name, "difference"]
    return head, [
        [v.video, str(v.objects), percent(v.first), percent(v.second), signed(v.difference)]
        for v in against.videos
    ]


def _summary(against: Against, first: str) -> str:
    how = "mean over objects"
    if len(against.videos) >= FEWEST:
        how += f"; 95 % interval by {RESAMPLES} bootstrap resamples of videos"
    return (
        f"{verdict(against, first)} ({how}). "
        f"Better on {against.wins} of {len(against.videos)} videos."
    )


def to_html(found: Comparison) -> str:
    """The comparison as a page."""
    return render(
        "comparison.html",
        title=f"{', '.join(found.names)} on {found.benchmark}",
        comparison=found,
        left_out=listed(found.left_out, 20),
        headlines=_headlines(found),
        runs=[
            {
                "name": run.name,
                "summary": _summary(run, found.names[0]),
                "chart": _chart(run, found.names[0]),
                "table": _videos(run, found),
            }
            for run in found.against
        ],
    )


def _chart(run: Against, first: str) -> Markup:
    shown = run.videos
    if len(shown) > _MOST_BARS:
        shown = shown[: _MOST_BARS // 2] + shown[-_MOST_BARS // 2 :]
    title = f"{run.name} compared with {first}, by video"
    return differences([(v.video, v.difference) for v in shown], title)


def write_comparison(folder: Path, found: Comparison) -> None:
    """Write comparison.md, comparison.json and comparison.html.

    Raises:
        OutputError: the folder cannot be written.
    """
    content = json.dumps(plain(asdict(found)), indent=1, ensure_ascii=False, allow_nan=False)
    texts = {
        "comparison.md": to_markdown(found),
        "comparison.json": content + "\n",
        "comparison.html": to_html(found),
    }
    write_texts(folder, texts)
