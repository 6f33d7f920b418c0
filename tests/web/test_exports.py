"""The page offers what `track --save` writes."""

from segment_concept.pipeline.outputs import OutputFormat
from segment_concept.web.exports import FORMATS, formats_json


def test_every_output_of_a_run_can_be_exported() -> None:
    assert set(FORMATS) == {kind.value for kind in OutputFormat}
    assert all(row["label"] and row["group"] for row in formats_json())
