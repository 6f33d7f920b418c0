"""Charts as inline SVG."""

from helpers.html_pages import well_formed
from segment_concept.html.charts import Axes, bars, columns, differences, element, line


def test_plots_are_well_formed_and_escape_names() -> None:
    rows = [("<b>&", 0.5), ("long " * 20, 1.0), ("zero", 0.0)]
    axes = Axes("x < y", "J&F")
    for plot in (
        bars(rows, "<t>"),
        columns(rows, axes, "t"),
        differences([("a", -0.5), ("b", 0.25)], "t"),
        differences([], "t"),
        line([(0.0, 0.5), (7.0, 1.0)], axes, "t", 0.75),
        line([], axes, "t"),
    ):
        well_formed(plot)
        assert "<b>" not in plot


def test_elements_escape_attributes_and_content_and_round_numbers() -> None:
    found = element("text", "a < b", class_="label", x=1 / 3, y=2.0, text_anchor='"')
    expected = '<text class="label" x="0.3" y="2" text-anchor="&#34;">a &lt; b</text>'
    assert found == expected
