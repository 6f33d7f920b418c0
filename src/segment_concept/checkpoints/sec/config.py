"""The `config.json` of a SeC model saved by this package."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segment_concept.checkpoints.sam2.sizes import stated_sizes
from segment_concept.checkpoints.sec.files import FORMATS
from segment_concept.models.internvl.sizes import ConceptSize, LanguageSize, VisionSize
from segment_concept.models.sam2.sizes import Sam2Sizes
from segment_concept.types import CheckpointError

FORMAT = f"{FORMATS}1"
SEGMENTER, CONCEPT = "segmenter.", "concept."  # name prefixes of the two networks


@dataclass(frozen=True, slots=True)
class SecCard:
    """All sizes of both networks, and the SHA-256 of every weights file by name.

    `training` says how the weights came about, if they were trained here.
    """

    segmenter: Sam2Sizes
    concept: ConceptSize
    sha256: Mapping[str, str]
    training: Mapping[str, Any] | None = None

    def as_config(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        config = {
            "format": FORMAT,
            "segmenter": asdict(self.segmenter),
            "concept": asdict(self.concept),
            "sha256": dict(self.sha256),
        }
        return config if self.training is None else config | {"training": dict(self.training)}


def read_card(config: Mapping[str, Any]) -> SecCard:
    """Read the card from a `config.json`.

    Raises:
        CheckpointError: another format, or damaged.
    """
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"config.json has format {config.get('format')!r}, expected {FORMAT!r}: it was written "
            "by another version of this package; convert the published checkpoint again"
        )
    try:
        concept = config["concept"]
        return SecCard(
            stated_sizes(config["segmenter"]),
            ConceptSize(
                VisionSize(**concept["vision"]),
                LanguageSize(**concept["language"]),
                concept["concept_width"],
            ),
            dict(config["sha256"]),
            config.get("training"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"config.json is damaged ({type(error).__name__}: {error}): convert the published "
            "checkpoint again"
        ) from error
