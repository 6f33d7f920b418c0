"""A SAM 2.1 segmenter written to one file."""

import pytest
import torch
from safetensors.torch import load_file

from helpers.fixtures import facts
from helpers.tiny_weights import tiny_weights_file
from segment_concept.checkpoints.sam2.keys import plan, published_names
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.checkpoints.sam2.save import read_header, save_sam2
from segment_concept.models.sam2.sizes import HieraWiring
from segment_concept.types import InputError

WIRING = HieraWiring(1, (8, 4, 8, 4), (3,))


@pytest.fixture(scope="module")
def network():
    return load_sam2(tiny_weights_file("sam2"), image_side=128, wiring=WIRING).network


def same(one, two):
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.mark.parametrize("published", [False, True])
def test_a_saved_network_is_read_back_with_its_sizes(network, tmp_path, published):
    path = tmp_path / "sam2-22.safetensors"
    save_sam2(network, path, training={"steps": 3}, published=published)
    loaded = load_sam2(path).network
    assert same(loaded, network)
    assert loaded.sizes == network.sizes
    assert read_header(path).training == {"steps": 3}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("family", "prefix"), [("sam2", ""), ("sec", "grounding_encoder.")])
def test_every_weight_has_its_published_name(family, prefix):
    named = facts("parity/tiny_shapes")[family]
    names = {n.removeprefix(prefix) for n in named if n.startswith(prefix)} - {"no_mem_pos_enc"}
    back = {n for ours in plan(names) for n in published_names(ours, of_sec=family == "sec")}
    assert back == names


def test_weights_are_saved_in_16_bits_but_position_frequencies_are_not(network, tmp_path):
    path = tmp_path / "half.safetensors"
    save_sam2(network, path, dtype=torch.bfloat16)
    dtypes = {n: t.dtype for n, t in load_file(path).items()}
    wide = {n for n, dtype in dtypes.items() if dtype == torch.float32}
    assert wide == {"prompt_encoder.shared_embedding.positional_embedding"}


def test_a_name_that_is_no_safetensors_file_is_refused(network, tmp_path):
    with pytest.raises(InputError, match=r"add that ending"):
        save_sam2(network, tmp_path / "weights.pt")
