"""Memory attention: against transformers' own, and what that one cannot do."""

import pytest
import torch
from torch import Tensor
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoConfig
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMemoryAttention

from helpers.sam2_toy import MEMORY_WIDTH, WIDTH, fill, recall, toy_network
from segment_concept.models.sam2.memory_attention import MemoryAttention, MemoryTokens
from segment_concept.models.sam2.memory_tokens import equally_long, memory_tokens
from segment_concept.models.sam2.positions import grid_rotation, grid_sines, rotate
from segment_concept.tracking.memory import Recall

H, W = 4, 6


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def attention(memory_width: int = MEMORY_WIDTH) -> MemoryAttention:
    module = MemoryAttention(WIDTH, memory_width, layers=2, mlp=24).eval()
    fill(module, seed=1)
    return module


def tokens_of(network: torch.nn.Module, *recalls: Recall) -> MemoryTokens:
    projection = network.temporal_positional_encoding_projection_layer
    return memory_tokens(recalls, network.slots, projection, WIDTH)


@torch.inference_mode()
@pytest.mark.parametrize("objects", [1, 3])
def test_it_computes_what_transformers_does_where_that_can(objects):
    ours = attention(memory_width=64)
    config = Sam2VideoConfig(
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=24,
        memory_attention_rope_feat_sizes=[W, H],
    )
    config._attn_implementation = "sdpa"
    theirs = Sam2VideoMemoryAttention(config).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    features, positions = noise(1, WIDTH, H, W), grid_sines(WIDTH, H, W, torch.device("cpu"))
    placed, free = 2 * H * W, 4
    values = noise(objects, placed + free, 64, seed=2)
    places = noise(objects, placed + free, 64, seed=3)

    def sequence(grid: Tensor) -> Tensor:
        return grid.expand(objects, -1, -1, -1).flatten(2).permute(2, 0, 1)

    expected = theirs(
        current_vision_features=sequence(features),
        memory=values.transpose(0, 1),
        current_vision_position_embeddings=sequence(positions),
        memory_posision_embeddings=places.transpose(0, 1),
        num_object_pointer_tokens=free,
    )
    memory = MemoryTokens(values + places, values, placed)
    out = ours(features, positions, memory, torch.zeros(objects, dtype=torch.long))
    assert out.shape == (objects, WIDTH, H, W)
    expected_rows = expected.reshape(objects, H * W, WIDTH).transpose(1, 2)
    torch.testing.assert_close(out.flatten(2), expected_rows, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_objects_with_equally_long_memories_are_attended_in_one_batch_as_one_by_one():
    network = toy_network()
    features = noise(2, WIDTH, 4, 4)
    recalls = [recall(4, 3, seed=1), recall(4, 3, seed=2), recall(4, 3, seed=3)]
    on = [0, 1, 0]
    together = network.memory_attention(
        features, network.grid_positions(), tokens_of(network, *recalls), torch.tensor(on)
    )
    for row, (image, memory) in enumerate(zip(on, recalls, strict=True)):
        alone = network.memory_attention(
            features[image : image + 1],
            network.grid_positions(),
            tokens_of(network, memory),
            torch.zeros(1, dtype=torch.long),
        )
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


def test_memories_are_grouped_by_their_length():
    lengths = [(1, 0), (4, 3), (1, 0), (4, 2), (4, 3)]
    recalls = [recall(*length, seed=n) for n, length in enumerate(lengths)]
    assert equally_long(recalls) == [[0, 2], [1, 4], [3]]


@torch.inference_mode()
def test_a_key_scale_multiplies_keys_with_their_position_and_leaves_values():
    network = toy_network()
    plain = tokens_of(network, recall(2, 2))
    scaled = tokens_of(network, recall(2, 2, key_scale=1.05))
    torch.testing.assert_close(scaled.keys, plain.keys * 1.05)
    assert torch.equal(scaled.values, plain.values)


@torch.inference_mode()
def test_pointers_are_cut_into_tokens_that_share_their_distance():
    network = toy_network()
    memory = recall(1, 2)
    tokens = tokens_of(network, memory)
    pieces = WIDTH // MEMORY_WIDTH
    assert tokens.placed == 16
    assert tokens.keys.shape[1] == 16 + 2 * pieces
    first = memory.pointers[0].memory.pointer
    assert torch.equal(tokens.values[0, 16 : 16 + pieces].flatten(), first)
    places = (tokens.keys - tokens.values)[0, 16:].reshape(2, pieces, MEMORY_WIDTH)
    torch.testing.assert_close(places[:, 0], places[:, 1])
    assert not torch.allclose(places[0], places[1])


def test_a_rotation_is_a_complex_product():
    tokens = noise(1, 2 * H * W, WIDTH)
    rotation = grid_rotation(H, W, WIDTH, torch.device("cpu"))
    a, b = tokens.reshape(1, 2, H * W, WIDTH // 2, 2).unbind(-1)
    cos, sin = rotation.unbind(-1)
    expected = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).reshape_as(tokens)
    torch.testing.assert_close(rotate(tokens, rotation), expected)


def test_the_first_half_of_the_channels_turns_with_x_the_second_with_y():
    cos = grid_rotation(H, W, WIDTH, torch.device("cpu"))[..., 0]
    grid = cos.reshape(H, W, 2, WIDTH // 4)
    assert torch.equal(grid[0, :, 0], grid[3, :, 0])
    assert torch.equal(grid[:, 0, 1], grid[:, 5, 1])
    assert not torch.equal(grid[0, 1, 0], grid[0, 2, 0])
