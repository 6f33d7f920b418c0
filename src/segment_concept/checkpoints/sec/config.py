"""The `config.json` of a SeC model saved by this package."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segment_concept.checkpoints.sec.files import FORMATS
from segment_concept.models.internvl.sizes import ConceptSize, LanguageSize, VisionSize
from segment_concept.models.sam2.sizes import HieraSizes, HieraWiring, Sam2Sizes
from segment_concept.types import CheckpointError

FORMAT = f"{FORMATS}1"
SEGMENTER, CONCEPT = "segmenter.", "concept."  # name prefixes of the two networks


@dataclass(frozen=True, slots=True)
class SecCard:
    """All sizes of both networks, and the SHA-256 of every weights file by name."""

    segmenter: Sam2Sizes
    concept: ConceptSize
    sha256: Mapping[str, str]

    def as_config(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {
            "format": FORMAT,
            "segmenter": asdict(self.segmenter),
            "concept": asdict(self.concept),
            "sha256": dict(self.sha256),
        }


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
        segmenter, concept = config["segmenter"], config["concept"]
        trunk, wiring = segmenter["trunk"], segmenter["trunk"]["wiring"]
        hiera = HieraSizes(
            **{**trunk, "blocks": tuple(trunk["blocks"]), "wiring": _wiring(wiring)},
        )
        return SecCard(
            Sam2Sizes(**{**segmenter, "trunk": hiera}),
            ConceptSize(
                VisionSize(**concept["vision"]),
                LanguageSize(**concept["language"]),
                concept["concept_width"],
            ),
            dict(config["sha256"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"config.json is damaged ({type(error).__name__}: {error}): convert the published "
            "checkpoint again"
        ) from error


def _wiring(stated: Mapping[str, Any]) -> HieraWiring:
    first, second, third, fourth = stated["windows"]
    return HieraWiring(
        stated["heads"], (first, second, third, fourth), tuple(stated["global_blocks"])
    )
