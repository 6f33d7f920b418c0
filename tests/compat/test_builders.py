"""SAM 2's builders and what scripts do with a predictor as with a module."""

from typing import Any

import pytest
import torch

from helpers.official_calls import frames, tiny, weights
from segment_concept import compat
from segment_concept.compat import VideoPredictor, build_sam2, build_sam2_video_predictor
from segment_concept.compat.overrides import Overrides, configure
from segment_concept.models.sam2.segmenter import Sam2Options
from segment_concept.recipes import find_recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError

CLICK: dict[str, Any] = {"points": [[60, 50]], "labels": [1]}


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    return Tracker(tiny())


@pytest.fixture
def predictor() -> VideoPredictor:
    return VideoPredictor(Tracker(tiny()))


@pytest.fixture
def loading(monkeypatch, tracker):
    """Every weight is that of the tiny network, whose wiring no builder can be told."""
    asked = []

    def load(recipe, *, device):
        asked.append((recipe.weights, device))
        return tracker

    monkeypatch.setattr(compat.build, "load_tracker", load)
    return asked


def options_of(predictor: VideoPredictor) -> Sam2Options:
    return predictor.tracker.segmenter.options


class TestBuilders:
    def test_the_default_is_the_release_with_its_post_processing(self, loading):
        built = build_sam2_video_predictor("configs/sam2.1/sam2.1_hiera_l.yaml", weights())
        assert loading == [(str(weights()), "auto")]
        assert options_of(built) == Sam2Options(fill_hole_area=8)
        assert not built.non_overlap_masks

    def test_all_arguments_in_their_places(self, loading):
        built = build_sam2_video_predictor(
            "sam2.1_hiera_l.yaml",
            weights(),
            torch.device("cpu"),
            "eval",
            ["++model.non_overlap_masks=true", "++model.fill_hole_area=3"],
            False,
            False,
        )
        assert loading == [(str(weights()), "cpu")]
        assert built.non_overlap_masks
        assert options_of(built) == Sam2Options(
            stability_fallback=False, binary_prompts=False, fill_hole_area=3
        )

    def test_names_on_the_hub(self, loading):
        name = "facebook/sam2.1-hiera-large"
        built = [
            compat.build_sam2_video_predictor_hf(name, apply_postprocessing=False),
            compat.build_sam2_hf(name, device="cpu"),
            VideoPredictor.from_pretrained(name, mode="eval"),
        ]
        assert [weights for weights, _ in loading] == [name] * 3
        assert [options_of(b).stability_fallback for b in built] == [False, True, True]

    def test_a_model_for_pictures(self, loading):
        assert (
            build_sam2("sam2.1_hiera_l.yaml", weights(), "cpu", "eval", [], True).image_size == 128
        )

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"ckpt_path": None}, "no weights: give ckpt_path"),
            ({"mode": "train"}, "mode='train'"),
        ],
    )
    def test_unsupported_builder_settings_are_refused(self, loading, asked, message):
        with pytest.raises(InputError, match=message):
            build_sam2_video_predictor("x.yaml", **{"ckpt_path": weights(), **asked})

    def test_number_type_and_size_of_the_network(self, checkpoint):
        settings = {"device": "cpu", "dtype": "bfloat16", "size": 256, "compiled": "no"}
        built = build_sam2_video_predictor(None, checkpoint, **settings)
        assert (built.dtype, built.image_size) == (torch.bfloat16, 256)

    def test_a_setting_that_is_not_known_is_named(self, loading):
        with pytest.raises(InputError, match="unknown setting compile_all"):
            VideoPredictor.from_pretrained(weights(), compile_all=True)


class TestOverrides:
    def test_understood(self, tracker):
        lines = [
            "++model.non_overlap_masks=False",
            "+model.num_maskmem=4",
            "model.max_obj_ptrs_in_encoder=8",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
            "++model.binarize_mask_from_pts_for_mem_enc=true",
            "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor",
        ]
        made = configure(tracker, apply_postprocessing=False, overrides=lines)
        assert made.segmenter.options == Sam2Options()
        assert (made.policy.slots, made.policy.pointers) == (4, 8)
        assert not made.non_overlapping

    @pytest.mark.parametrize(("line", "number"), [([], None), (["=-1"], None), (["=4"], 4)])
    def test_all_prompted_frames_are_attended_to_unless_a_number_is_given(
        self, tracker, line, number
    ):
        lines = [f"++model.max_cond_frames_in_attn{value}" for value in line]
        assert configure(tracker, overrides=lines).policy.prompted == number

    def test_the_optimized_class_is_compiled(self):
        target = "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictorVOS"
        assert Overrides.parse([target]).get("compile_image_encoder", False)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("++model.colour=red", r"\+\+model\.colour=red: this setting is not supported"),
            ("++model.fill_hole_area=many", "a whole number"),
            ("++model.fill_hole_area=-1", "a whole number"),
            ("++model.non_overlap_masks=1", "true or false"),
            ("++model.max_cond_frames_in_attn=0", "at least 1"),
            ("++model.num_maskmem=9", "these weights have 7 slots"),
            ("++model.num_maskmem=0", "at least 1"),
            ("++model.add_all_frames_to_correct_as_cond=false", "only True is supported"),
            ("++model.memory_temporal_stride_for_eval=5", "only 1 is supported"),
            ("fill_hole_area", "is not an override"),
        ],
    )
    def test_refused_by_name(self, tracker, line, message):
        with pytest.raises(InputError, match=message):
            configure(tracker, overrides=[line])

    def test_the_compact_model_has_no_post_processing_to_leave_out(self):
        built = VideoPredictor.from_pretrained(
            "sec_compact", device="cpu", apply_postprocessing=False, vos_optimized=True
        )
        assert built.fill_hole_area == 0
        assert built.image_size == find_recipe("sec_compact").short_side
        built.fill_hole_area = 0
        assert built.half().eval().to("cpu").dtype == torch.float32
        with pytest.raises(InputError, match="fill_hole_area is for SAM"):
            built.fill_hole_area = 8
        with pytest.raises(InputError, match="use close\\(\\) to free them"):
            built.to("meta")
        state = built.init_state(frames())
        built.add_new_points_or_box(state, 2, 0, **CLICK)
        seen = list(built.propagate_in_video(state, start_frame_idx=0))
        assert [index for index, _, _ in seen] == list(range(6))


class TestModule:
    def test_it_is_looked_at_and_moved_like_one(self, predictor):
        assert predictor.eval() is predictor
        assert predictor.train(False) is predictor
        assert predictor.to("cpu").device == torch.device("cpu")
        assert predictor.image_size == 128
        names = [name for name, _ in predictor.named_parameters()]
        assert len(list(predictor.parameters())) == len(names)
        assert set(names) <= set(predictor.state_dict())
        with pytest.raises(InputError, match="cannot be trained"):
            predictor.train()

    @pytest.mark.parametrize("move", ["bfloat16", "to"])
    def test_in_another_number_type_it_tracks_nearly_the_same(self, predictor, move):
        def masks() -> torch.Tensor:
            state = predictor.init_state(frames())
            predictor.add_new_points_or_box(state, 0, 1, **CLICK)
            return torch.cat([m for _, _, m in predictor.propagate_in_video(state, 0, 2)])

        exact = masks()
        moved = predictor.bfloat16() if move == "bfloat16" else predictor.to(dtype=torch.bfloat16)
        assert moved.dtype == torch.bfloat16
        frequencies = "prompt_encoder.shared_embedding.positional_embedding"
        assert predictor.state_dict()[frequencies].dtype == torch.float32
        torch.testing.assert_close(masks(), exact, atol=0.6, rtol=0)
        assert predictor.float().dtype == torch.float32

    def test_pixels_belong_to_one_object_at_most(self, predictor):
        scores = torch.tensor([3.0, -2.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 5)
        kept = predictor._apply_non_overlapping_constraints(scores)
        assert kept.shape == (2, 1, 4, 5)
        assert (kept[0] == 3).all()
        assert (kept[1] == -10).all()
