"""The image encoder: against transformers' own."""

import pytest
import torch
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig, Sam2VisionConfig
from transformers.models.sam2.modeling_sam2 import Sam2VisionModel

from helpers.sam2_toy import fill
from segment_concept.models.sam2.hiera import ImageEncoder
from segment_concept.models.sam2.sizes import SIZES, HieraSizes, HieraWiring

WIDTH = 32
DIVIDING = HieraSizes(8, (1, 1, 2, 1), 7, HieraWiring(1, (8, 4, 4, 2), (3,)))
BEYOND = HieraSizes(8, (1, 2, 3, 2), 7, HieraWiring(2, (8, 4, 14, 7), (5,)))
TRUNKS = {
    "windows that divide the image": (DIVIDING, 64),
    "windows that reach beyond it": (BEYOND, 256),
}


def transformers_encoder(trunk: HieraSizes, side: int, width: int) -> Sam2VisionModel:
    wiring = trunk.wiring
    backbone = Sam2HieraDetConfig(
        hidden_size=trunk.width,
        num_attention_heads=wiring.heads,
        image_size=[side, side],
        blocks_per_stage=list(trunk.blocks),
        embed_dim_per_stage=trunk.widths,
        num_attention_heads_per_stage=[wiring.heads * 2**i for i in range(4)],
        window_size_per_stage=list(wiring.windows),
        global_attention_blocks=list(wiring.global_blocks),
        window_positional_embedding_background_size=[trunk.background] * 2,
    )
    backbone._attn_implementation = "sdpa"
    config = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=trunk.widths[::-1],
        backbone_feature_sizes=[[side // cell] * 2 for cell in (4, 8, 16)],
        fpn_hidden_size=width,
    )
    config._attn_implementation = "sdpa"
    return Sam2VisionModel(config).eval()


@torch.inference_mode()
@pytest.mark.parametrize("name", TRUNKS)
def test_it_computes_what_transformers_does(name):
    trunk, side = TRUNKS[name]
    ours = ImageEncoder(trunk, WIDTH).eval()
    fill(ours, seed=0)
    theirs = transformers_encoder(trunk, side, WIDTH)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = theirs(pixels).fpn_hidden_states
    for level, found in zip(expected, ours(pixels), strict=True):
        torch.testing.assert_close(found, level, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_it_has_the_parameters_that_transformers_has(size):
    with torch.device("meta"):
        ours = ImageEncoder(SIZES[size].trunk, 256)
        theirs = transformers_encoder(SIZES[size].trunk, 1024, 256)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (ours, theirs)]
    assert shapes[0] == shapes[1]


@torch.no_grad()
def test_positions_follow_the_weights_that_are_loaded_later():
    trunk, side = TRUNKS["windows that divide the image"]
    encoder = ImageEncoder(trunk, WIDTH).eval()
    fill(encoder, seed=0)
    pixels = torch.zeros(1, 3, side, side)
    before = encoder(pixels)[0]
    other = ImageEncoder(trunk, WIDTH).eval()
    fill(other, seed=2)
    encoder.load_state_dict(other.state_dict())
    assert not torch.equal(encoder(pixels)[0], before)
    torch.testing.assert_close(encoder(pixels)[0], other(pixels)[0])


@torch.no_grad()
def test_an_encoder_whose_numbers_are_cast_computes_in_the_new_ones():
    trunk, side = TRUNKS["windows that divide the image"]
    encoder = ImageEncoder(trunk, WIDTH).eval()
    encoder(torch.zeros(1, 3, side, side))
    cast = encoder.to(torch.bfloat16)
    found = cast(torch.zeros(1, 3, side, side, dtype=torch.bfloat16))
    assert {level.dtype for level in found} == {torch.bfloat16}


def test_the_first_block_of_a_stage_has_the_window_of_the_stage_before():
    trunk, _ = TRUNKS["windows that divide the image"]
    assert [block.window for block in ImageEncoder(trunk, WIDTH).backbone.blocks] == [8, 8, 4, 0, 4]
