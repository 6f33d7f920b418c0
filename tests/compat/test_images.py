"""SAM 2's image predictor and mask generator, compared with its recorded outputs."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.models.sam2.configuration_sam2 import Sam2Config
from transformers.models.sam2.modeling_sam2 import Sam2Model

from helpers.official_calls import EVERY, answers, frames, tiny
from segment_concept.compat import (
    AutomaticMaskGenerator,
    ImagePredictor,
    SAM2ImagePredictor,
    VideoPredictor,
)
from segment_concept.models.sam2.segmenter import Sam2Options
from segment_concept.ops.rle import decode_rle
from segment_concept.recipes import find_recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError

CLICK: dict[str, Any] = {"point_coords": np.array([[60, 50]]), "point_labels": np.array([1])}
CLICKS: dict[str, Any] = {
    "point_coords": np.array([[60, 50], [12, 86]]),
    "point_labels": np.array([1, 0]),
    "multimask_output": False,
}
BOX = np.array([17, 44, 76, 74])
CASES: dict[str, dict[str, Any]] = {
    "click": CLICK,
    "click_single": {**CLICK, "multimask_output": False},
    "clicks": CLICKS,
    "box": {"box": BOX, "multimask_output": False},
    "box_three": {"box": BOX},
    "box_click": {**CLICK, "box": BOX, "multimask_output": False},
    "boxes": {"box": np.array([BOX, [100, 10, 150, 60]]), "multimask_output": False},
    "clicks_batch": {
        "point_coords": np.array([[[60, 50]], [[12, 86]], [[100, 20]]]),
        "point_labels": np.array([[1], [1], [1]]),
    },
    "unnormalized": {
        "point_coords": np.array([[60 / 160, 50 / 96]]),
        "point_labels": np.array([1]),
        "normalize_coords": False,
    },
}


@pytest.fixture(scope="module")
def predictor() -> ImagePredictor:
    return ImagePredictor(VideoPredictor(Tracker(tiny())))


@pytest.fixture
def shown(predictor) -> ImagePredictor:
    predictor.set_image(frames()[0].numpy())
    return predictor


def check(found: tuple[Any, Any, Any], name: str) -> None:
    tensors, _ = answers()
    parts = zip(found, ("logits", "iou", "low"), strict=True)
    for array, part in parts:
        ours = array[..., ::EVERY, ::EVERY] if part == "logits" else array
        stored = tensors[f"{name}.{part}"]
        torch.testing.assert_close(torch.from_numpy(ours.copy()), stored, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_prompts_are_answered_officially(shown, name):
    check(shown.predict(return_logits=True, **CASES[name]), f"image.{name}")
    facts = answers()[1]["image"][name]
    masks, ious, _ = shown.predict(**CASES[name])
    assert (list(masks.shape), str(masks.dtype)) == (facts["shape"], facts["dtype"])
    assert set(np.unique(masks)) <= {0.0, 1.0}
    assert ious.dtype == np.float32


@pytest.mark.parametrize(("name", "clicks"), [("mask_alone", {}), ("mask_click", CLICKS)])
def test_an_earlier_answer_is_a_prompt_officially(shown, name, clicks):
    low = shown.predict(**CLICK)[2][:1]
    asked = {**clicks, "mask_input": low, "multimask_output": False}
    check(shown.predict(return_logits=True, **asked), f"image.{name}")


def test_the_embedding_is_the_official_one(shown):
    torch.testing.assert_close(
        shown.get_image_embedding(), answers()[0]["image.embedding"], atol=1e-4, rtol=0
    )


def test_several_pictures_of_different_sizes(predictor):
    pictures = frames().numpy()
    predictor.set_image_batch([pictures[0], pictures[3][:80, :100]])
    coords, labels = [[[60, 50]], [[20, 20]]], [[1], [1]]
    found = predictor.predict_batch(coords, labels, return_logits=True)
    for index in range(2):
        check(tuple(part[index] for part in found), f"batch.{index}")
    assert predictor.get_image_embedding().shape[0] == 2


def test_a_picture_of_pillow_is_the_same(predictor, shown):
    before = shown.predict(**CLICK, return_logits=True)[0]
    predictor.set_image(Image.fromarray(frames()[0].numpy()))
    np.testing.assert_array_equal(predictor.predict(**CLICK, return_logits=True)[0], before)


def test_transformers_agrees_on_the_same_weights(shown):
    segmenter = tiny()
    model = _transformers_model(segmenter.network.state_dict())
    pixels = torch.from_numpy(frames()[0].numpy()).permute(2, 0, 1).float()[None] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    square = torch.nn.functional.interpolate(pixels, (128, 128), mode="bilinear", antialias=True)
    square = (square - mean[:, None, None]) / std[:, None, None]
    scale = torch.tensor([128 / 160, 128 / 96])
    with torch.inference_mode():
        theirs = model(
            pixel_values=square,
            input_points=(torch.tensor([[60.0, 50.0]]) * scale)[None, None],
            input_labels=torch.ones(1, 1, 1, dtype=torch.long),
        )
    _, iou, low = shown.predict(**CLICK)
    torch.testing.assert_close(torch.from_numpy(iou), theirs.iou_scores[0, 0], atol=1e-4, rtol=0)
    masks = theirs.pred_masks[0, 0].clamp(-32, 32)
    torch.testing.assert_close(torch.from_numpy(low), masks, atol=1e-3, rtol=0)


def _transformers_model(state: dict[str, Tensor]) -> Sam2Model:
    backbone = {
        "hidden_size": 16,
        "num_attention_heads": 1,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 8, 4],
        "window_positional_embedding_background_size": [7, 7],
        "global_attention_blocks": [3],
        "model_type": "sam2_hiera_det_model",
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 128,
        "model_type": "sam2_vision_model",
    }
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 128, "image_size": 128},
        mask_decoder_config={"hidden_size": 128},
    )
    model = Sam2Model(config)
    outcome = model.load_state_dict(state, strict=False)
    assert set(outcome.missing_keys) == {"shared_image_embedding.positional_embedding"}
    frequencies = state["prompt_encoder.shared_embedding.positional_embedding"]
    model.shared_image_embedding.positional_embedding.copy_(frequencies)
    return model.eval()


class TestRefused:
    def test_before_a_picture_is_set(self):
        fresh = SAM2ImagePredictor(tiny())
        for call in (
            lambda: fresh.predict(**CLICK),
            lambda: fresh.predict_batch([]),
            fresh.get_image_embedding,
        ):
            with pytest.raises(InputError, match="call set_image first"):
                call()

    def test_after_it_is_forgotten(self, shown):
        shown.reset_predictor()
        with pytest.raises(InputError, match="call set_image first"):
            shown.predict(**CLICK)

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"point_coords": [[1, 2]]}, "go together"),
            ({"point_coords": [[1, 2]], "point_labels": [1, 0]}, r"\(1, 2\) do not go with"),
            ({**CLICK, "box": [BOX, BOX]}, "not as many boxes"),
        ],
    )
    def test_prompts_that_do_not_fit_together(self, shown, asked, message):
        with pytest.raises(InputError, match=message):
            shown.predict(**asked)

    def test_the_compact_model(self):
        tracker = Tracker(object(), find_recipe("sec_compact").policy)
        with pytest.raises(InputError, match=r"take SAM 2\.1 or SeC"):
            ImagePredictor(tracker)

    def test_files_that_are_no_images_are_refused(self, predictor):
        with pytest.raises(InputError, match="expected RGB images"):
            predictor.set_image(np.zeros((4, 5, 7), np.uint8))


class TestGenerator:
    LOOSE: dict[str, Any] = {  # noqa: RUF012 -- never changed
        "pred_iou_thresh": 0.1,
        "stability_score_thresh": 0.1,
        "stability_score_offset": 0.2,
    }

    @pytest.mark.parametrize("name", ["whole", "crops", "small_regions", "refined"])
    def test_masks_are_the_official_ones(self, name):
        tensors, facts = answers()
        generator = AutomaticMaskGenerator(tiny(), **facts["amg"][name]["settings"])
        ours, theirs = generator.generate(frames()[0].numpy()), facts["amg"][name]["masks"]
        assert len(ours) == len(theirs)
        for found, expected, mask in zip(ours, theirs, tensors[f"amg.{name}"], strict=True):
            wrong = found["segmentation"] != mask.numpy()
            assert wrong.mean() < 1e-3
            np.testing.assert_allclose(found["point_coords"], expected["point_coords"], rtol=1e-6)
            assert found["crop_box"] == expected["crop_box"]
            np.testing.assert_allclose(found["bbox"], expected["bbox"], atol=2)
            for score in ("predicted_iou", "stability_score"):
                assert found[score] == pytest.approx(expected[score], abs=2e-3)
            assert found["area"] == int(found["segmentation"].sum())

    def test_run_lengths_hold_the_same_masks(self):
        picture = frames()[0].numpy()
        asked = {**self.LOOSE, "points_per_side": 2, "multimask_output": False}
        plain, runs, coco = (
            AutomaticMaskGenerator(tiny(), output_mode=mode, **asked).generate(picture)
            for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
        )
        assert plain
        for mask, run, text in zip(plain, runs, coco, strict=True):
            assert run["segmentation"]["size"] == text["segmentation"]["size"] == [96, 160]
            decoded = decode_rle(text["segmentation"]["counts"], (96, 160))
            np.testing.assert_array_equal(decoded, mask["segmentation"])
            counts = run["segmentation"]["counts"]
            assert sum(counts) == 96 * 160
            assert sum(counts[1::2]) == mask["area"]

    def test_there_is_no_mask_if_nothing_is_good_enough(self):
        generator = AutomaticMaskGenerator(tiny(), points_per_side=2, pred_iou_thresh=1.0)
        assert generator.generate(frames()[0].numpy()) == []

    def test_points_of_ones_own(self):
        grids = [np.array([[0.4, 0.5]])]
        generator = AutomaticMaskGenerator(
            tiny(), points_per_side=None, point_grids=grids, **self.LOOSE
        )
        found = generator.generate(frames()[0].numpy())
        assert all(mask["point_coords"] == [[64.0, 48.0]] for mask in found)

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"points_per_side": None}, "either points_per_side or point_grids"),
            ({"output_mode": "png"}, "unknown output_mode 'png'"),
            ({"points_per_side": 0}, "at least 1"),
            ({"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "at"),
            ({"points_per_side": None, "point_grids": []}, "0 point_grids for 1 layers"),
        ],
    )
    def test_arguments_without_meaning_are_refused(self, asked, message):
        with pytest.raises(InputError, match=message):
            AutomaticMaskGenerator(tiny(Sam2Options()), **asked)
