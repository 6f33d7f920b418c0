"""The shapes of a SAM 2.1 network."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class HieraWiring:
    """Properties of the image encoder that its weights' shapes do not determine."""

    heads: int  # of the first stage; doubled at every later one
    windows: tuple[int, int, int, int]  # side of the attention windows in each stage
    global_blocks: tuple[int, ...]  # blocks that attend to the whole image


@dataclass(frozen=True, slots=True)
class HieraSizes:
    """The image encoder."""

    width: int  # of the first stage; doubled at every later one
    blocks: tuple[int, int, int, int]  # in each stage
    background: int  # side of the position embedding, which is interpolated to the image
    wiring: HieraWiring

    @property
    def widths(self) -> list[int]:
        """Channels of the four stages."""
        return [self.width * 2**stage for stage in range(4)]


# By (width, blocks), from the official configurations sam2.1_hiera_{t,s,b+,l}.yaml.
WIRINGS = {
    (96, (1, 2, 7, 2)): HieraWiring(1, (8, 4, 14, 7), (5, 7, 9)),
    (96, (1, 2, 11, 2)): HieraWiring(1, (8, 4, 14, 7), (7, 10, 13)),
    (112, (2, 3, 16, 3)): HieraWiring(2, (8, 4, 14, 7), (12, 16, 20)),
    (144, (2, 6, 36, 4)): HieraWiring(2, (8, 4, 16, 8), (23, 33, 43)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSizes:
    """Sizes of all parts but the image encoder. Defaults are those of SAM 2.1."""

    image_side: int = 1024  # pixels of the square that the network reads; a multiple of 16
    width: int = 256  # channels of features, pointers and tokens
    memory_width: int = 64  # channels of memory maps
    slots: int = 7  # temporal embeddings: SAM 2.1 has 7, SeC 22
    attention_layers: int = 4
    attention_mlp: int = 2048
    concept_layers: int = 0  # of `token_attn`: 0 in SAM 2.1, 4 in SeC
    decoder_mlp: int = 2048
    iou_width: int = 256
    mask_channels: int = 16  # of a mask prompt's embedding, before the last convolution
    fuser_layers: int = 2
    fuser_mlp: int = 1024
    pointer_times: bool = True  # pointers have temporal embeddings
    occlusion: bool = True  # memory maps of absent objects have an embedding

    def __post_init__(self) -> None:
        if self.image_side % 16:
            raise ValueError(f"the image side is a multiple of 16, got {self.image_side}")

    @property
    def grid(self) -> int:
        """Side of the coarsest features: one token covers 16 pixels."""
        return self.image_side // 16


@dataclass(frozen=True, slots=True)
class Sam2Sizes(HeadSizes):
    """Sizes of SAM 2.1, or of SeC's segmenter."""

    trunk: HieraSizes


def _published(width: int, blocks: tuple[int, int, int, int], background: int) -> Sam2Sizes:
    return Sam2Sizes(HieraSizes(width, blocks, background, WIRINGS[width, blocks]))


# By the size in the names of the published checkpoints, from the same configurations.
SIZES = {
    "tiny": _published(96, (1, 2, 7, 2), 7),
    "small": _published(96, (1, 2, 11, 2), 7),
    "base-plus": _published(112, (2, 3, 16, 3), 14),
    "large": _published(144, (2, 6, 36, 4), 7),
}
SEC_4B = replace(SIZES["large"], slots=22, concept_layers=4)  # SeC-4B's segmenter
