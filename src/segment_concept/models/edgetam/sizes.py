"""The shapes of an EdgeTAM network."""

from dataclasses import dataclass, field

from segment_concept.models.edgetam.repvit import RepVitSizes
from segment_concept.models.sam2.sizes import HeadSizes


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTamSizes(HeadSizes):
    """Sizes of EdgeTAM. Defaults are those of the published weights (`edgetam.yaml`)."""

    trunk: RepVitSizes = field(default_factory=RepVitSizes)
    attention_layers: int = 2
    pointer_times: bool = False
    occlusion: bool = False
    latents: int = 256  # tokens per memory that read the whole map
    side: int = 16  # and side x side tokens that read a window of the map each
    perceiver_layers: int = 2
    perceiver_mlp: int = 256

    def __post_init__(self) -> None:
        if self.image_side % (16 * self.side):
            raise ValueError(
                f"the image side is a multiple of {16 * self.side}, got {self.image_side}"
            )
