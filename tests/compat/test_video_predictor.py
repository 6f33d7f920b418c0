"""SAM 2's predictor by its own names: its official numbers, and scripts written for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.closeness import PROPAGATED, close
from helpers.fixtures import fixture
from helpers.sam2_reference import stored
from helpers.tiny_weights import tiny_weights_file
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.compat import InferenceState, VideoPredictor, build_sam2_video_predictor
from segment_concept.compat.recipes import recipe_for
from segment_concept.models.sam2.sizes import HieraWiring
from segment_concept.ops.resize import normalized_square
from segment_concept.recipes import find_recipe
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import Every
from segment_concept.types import CheckpointError, InputError

WIRING = HieraWiring(1, (8, 4, 8, 4), (3,))
NOWHERE = -1024.0
BLOB = [[60.0, 50.0]]


def write_frames(folder: Path, pictures: Tensor) -> Path:
    """As SAM 2 wants a video: a folder of numbered pictures; lossless here."""
    folder.mkdir()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), picture.numpy()[..., ::-1])
    return folder


def moving_blob(count: int) -> Tensor:
    """A video (count, 96, 160, 3) of a red disc that moves to the right over a colored ground."""
    y, x = np.mgrid[0:96, 0:160]
    ground = np.stack([x + 20, 2 * y, 160 - x], -1).clip(0, 255).astype(np.uint8)
    frames = np.repeat(ground[None], count, 0)
    for index, frame in enumerate(frames):
        frame[(x - 46 - 3 * index) ** 2 + (y - 58) ** 2 < 22**2] = (230, 40, 30)
    return torch.from_numpy(frames)


def predictor_of(weights: Path) -> VideoPredictor:
    return VideoPredictor(Tracker(load_sam2(weights, image_side=128, wiring=WIRING)))


@pytest.fixture(scope="module")
def predictor() -> VideoPredictor:
    return predictor_of(tiny_weights_file("sam2"))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_frames(tmp_path_factory.mktemp("blob") / "frames", moving_blob(6))


@pytest.fixture
def state(predictor, video) -> InferenceState:
    return predictor.init_state(video)


def clicked(op: dict[str, Any]) -> dict[str, Any]:
    return {
        "points": np.array(op["points"], np.float32),
        "labels": np.array(op["labels"], np.int32),
    }


class TestOfficialNumbers:
    """What SAM 2's predictor answered to the same calls."""

    @pytest.fixture
    def predictor(self) -> VideoPredictor:
        return predictor_of(fixture("parity/sam2_tiny_weights.safetensors"))

    @pytest.fixture
    def prompts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, told = stored("parity", "sam2_prompts")
        return tensors, {op["tag"]: op for op in told["ops"]}

    @pytest.fixture
    def video(self, prompts, tmp_path_factory) -> Path:
        return write_frames(tmp_path_factory.mktemp("prompts") / "frames", prompts[0]["frames"])

    def test_clicks_corrections_and_propagation(self, predictor, state, prompts):
        tensors, ops = prompts
        for tag in ("click1", "click2_correct"):
            options = {"clear_old_points": ops[tag].get("clear_old_points", True)}
            index, ids, logits = predictor.add_new_points_or_box(
                inference_state=state, frame_idx=0, obj_id=1, **clicked(ops[tag]), **options
            )
            assert (index, ids) == (0, [1])
            close(logits, tensors[f"{tag}.video_res"])
        answers = list(predictor.propagate_in_video(state))
        assert [index for index, _, _ in answers] == list(range(6))
        for (_, ids, logits), expected in zip(answers, tensors["prop_a.video_res"], strict=True):
            assert ids == [1]
            close(logits, expected[None], PROPAGATED)
        click = clicked(ops["click_tracked"])
        _, _, corrected = predictor.add_new_points_or_box(state, 3, 1, **click)
        close(corrected, tensors["click_tracked.video_res"], PROPAGATED)

    def test_a_box_and_a_number_of_frames(self, predictor, state, prompts):
        tensors, ops = prompts
        _, _, logits = predictor.add_new_points_or_box(state, 0, 1, box=ops["box"]["box"])
        close(logits, tensors["box.video_res"])
        answers = list(predictor.propagate_in_video(state, max_frame_num_to_track=3))
        played = torch.cat([logits for _, _, logits in answers])
        close(played, tensors["prop_box.video_res"], PROPAGATED)

    def test_a_box_with_a_click(self, predictor, state, prompts):
        tensors, ops = prompts
        op = ops["box_point"]
        click = clicked(op)
        _, _, logits = predictor.add_new_points_or_box(state, 0, 1, box=op["box"], **click)
        close(logits, tensors["box_point.video_res"])

    def test_forwards_and_in_reverse_from_the_middle(self, predictor, tmp_path):
        tensors, _ = stored("parity", "sam2_multicond_reverse")
        pictures, _ = stored("parity", "sam2_single")
        state = predictor.init_state(write_frames(tmp_path / "frames", pictures["frames"]))
        predictor.add_new_mask(state, frame_idx=5, obj_id=7, mask=tensors["masks"][0])
        for tag, reverse in (("fwd", False), ("rev", True), ("second", False)):
            answers = list(predictor.propagate_in_video(state, reverse=reverse))
            assert [index for index, _, _ in answers] == tensors[f"{tag}.frames"].tolist()
            for (_, ids, logits), expected in zip(
                answers[::2], tensors[f"{tag}.video_res"], strict=True
            ):
                assert ids == [7]
                close(logits, expected[None])

    def test_two_objects(self, predictor, tmp_path):
        tensors, facts = stored("parity", "sam2_two")
        state = predictor.init_state(str(write_frames(tmp_path / "frames", tensors["frames"])))
        for object_id, mask in zip(facts["obj_ids"], tensors["masks0"], strict=True):
            answer = predictor.add_new_mask(state, 0, object_id, mask.numpy() > 0)
        close(answer[2], tensors["video_res_after_prompt"])
        answers = list(predictor.propagate_in_video(state))
        assert answers[0][1] == facts["obj_ids"]
        for (_, _, logits), expected in zip(answers[::3], tensors["video_res_masks"], strict=True):
            close(logits, expected)


SCRIPT = """
import numpy as np
import torch
from segment_concept.compat import VideoPredictor as SAM2VideoPredictor

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
predictor = SAM2VideoPredictor.from_pretrained(checkpoint, device=str(device))
with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
    inference_state = predictor.init_state(video_path=video_dir)
    predictor.reset_state(inference_state)

    ann_frame_idx, ann_obj_id = 0, 1
    points = np.array([[46, 58], [12, 86]], dtype=np.float32)
    labels = np.array([1, 0], np.int32)
    _, out_obj_ids, out_mask_logits = predictor.add_new_points_or_box(
        inference_state=inference_state,
        frame_idx=ann_frame_idx,
        obj_id=ann_obj_id,
        points=points,
        labels=labels,
    )
    first = (out_mask_logits[0] > 0.0).cpu().numpy()

    box = np.array([17, 44, 76, 74], dtype=np.float32)
    predictor.add_new_points_or_box(
        inference_state=inference_state, frame_idx=2, obj_id=2, box=box
    )

    video_segments = {}
    for out_frame_idx, out_obj_ids, out_mask_logits in predictor.propagate_in_video(
        inference_state
    ):
        video_segments[out_frame_idx] = {
            out_obj_id: (out_mask_logits[i] > 0.0).cpu().numpy()
            for i, out_obj_id in enumerate(out_obj_ids)
        }
    predictor.remove_object(inference_state, 2)
    predictor.clear_all_prompts_in_frame(inference_state, frame_idx=0, obj_id=1)
"""


def test_a_script_for_sam_2_runs_with_the_import_changed(checkpoint, video):
    names: dict[str, Any] = {"checkpoint": str(checkpoint), "video_dir": str(video)}
    exec(SCRIPT, names)
    segments = names["video_segments"]
    assert list(segments) == list(range(6))
    for masks in segments.values():
        assert {i: (m.shape, m.dtype) for i, m in masks.items()} == dict.fromkeys(
            (1, 2), ((1, 96, 160), np.dtype(bool))
        )
    np.testing.assert_array_equal(segments[0][1], names["first"])


def test_objects_may_have_any_number_0_first_of_all(predictor, video):
    def answers(first: int, second: int) -> list[tuple[int, list[int], Tensor]]:
        state = predictor.init_state(video)
        predictor.add_new_points_or_box(state, 0, first, BLOB, [1])
        predictor.add_new_points_or_box(state, 0, second, box=[17, 44, 76, 74])
        return list(predictor.propagate_in_video(state, 0, 2))

    for (_, ids, masks), (_, usual, expected) in zip(answers(0, -3), answers(1, 2), strict=True):
        assert (ids, usual) == ([0, -3], [1, 2])
        assert torch.equal(masks, expected)


def test_object_0_is_removed_and_shown_again_beside_another(predictor, video):
    state = predictor.init_state(video)
    _, _, before = predictor.add_new_points_or_box(state, 0, 0, BLOB, [1])
    predictor.add_new_points_or_box(state, 1, 1, BLOB, [1])
    predictor.clear_all_prompts_in_frame(state, 0, 0)
    assert predictor.remove_object(state, 0)[0] == [1]
    index, ids, again = predictor.add_new_points_or_box(state, 0, 0, BLOB, [1])
    assert (index, ids) == (0, [1, 0])
    assert torch.equal(again[1], before[0])
    predictor.reset_state(state)
    assert predictor.add_new_points_or_box(state, 0, 0, BLOB, [1])[1] == [0]


def test_a_video_file_is_played_in_both_directions(predictor, tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for picture in moving_blob(6):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), "rgb24")))
        out.mux(stream.encode())
    state = predictor.init_state(path)
    predictor.add_new_points_or_box(state, 3, 1, BLOB, [1])
    assert [i for i, _, _ in predictor.propagate_in_video(state)] == [3, 4, 5]
    assert [i for i, _, _ in predictor.propagate_in_video(state, reverse=True)] == [3, 2, 1, 0]
    assert [i for i, _, _ in predictor.propagate_in_video(state, 1, 2)] == [1, 2, 3]
    assert [i for i, _, _ in predictor.propagate_in_video(state, 4, 1, True)] == [4, 3]


def test_nothing_is_played_in_reverse_from_frame_0(predictor, state):
    predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
    assert list(predictor.propagate_in_video(state, reverse=True)) == []


def test_a_state_reads_like_sam_2s_dictionary(predictor, state):
    read = [state[name] for name in ("num_frames", "video_height", "video_width", "obj_ids")]
    assert read == [6, 96, 160, []]
    predictor.add_new_points_or_box(state, 0, 7, BLOB, [1])
    predictor.add_new_points_or_box(state, 0, 3, BLOB, [1])
    assert state["obj_id_to_idx"] == {7: 0, 3: 1}
    assert state["obj_idx_to_id"] == {0: 7, 1: 3}
    assert predictor._obj_id_to_idx(state, 3) == 1
    assert predictor._obj_idx_to_id(state, 0) == 7
    assert predictor._get_obj_num(state) == 2
    assert state["device"] == torch.device("cpu")
    assert "num_frames" in state
    assert set(state) == {name for name, _ in state.items()} == set(state.keys())
    assert state.get("output_dict_per_obj", 5) == 5
    with pytest.raises(KeyError, match=r"num_frames.*session\.tracks"):
        state["output_dict_per_obj"]


def test_a_state_has_the_frames_as_the_network_reads_them(state):
    images = state["images"]
    assert len(images) == 6
    expected = normalized_square(moving_blob(6)[5].numpy(), 128)
    assert torch.equal(images[5], expected)
    assert torch.equal(images[-1], expected)
    assert images[1:3].shape == (2, 3, 128, 128)
    with pytest.raises(IndexError):
        images[6]


class TestPrompts:
    """Ways to say the same."""

    @pytest.fixture
    def first(self, predictor, state) -> Tensor:
        return predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])[2]

    @pytest.mark.parametrize(
        ("points", "labels", "options"),
        [
            (torch.tensor([BLOB]), torch.tensor([[1]]), {}),
            ([[60 / 160, 50 / 96]], [1], {"normalize_coords": False}),
            ([*BLOB, [0, 0]], [1, -1], {}),
        ],
        ids=["tensors with a batch", "shares of the frame", "with padding"],
    )
    def test_of_a_click(self, predictor, video, first, points, labels, options):
        state = predictor.init_state(video)
        answer = predictor.add_new_points_or_box(state, 0, 1, points, labels, **options)
        torch.testing.assert_close(answer[2], first)

    def test_boxes_match(self, predictor, video):
        corners = [[17.0, 44.0], [76.0, 74.0]]
        asked: list[dict[str, Any]] = [
            {"box": np.array([17, 44, 76, 74])},
            {"box": torch.tensor(corners)},
            {"points": corners, "labels": [2, 3]},
            {"box": np.array([17 / 160, 44 / 96, 76 / 160, 74 / 96]), "normalize_coords": False},
        ]
        answers = [
            predictor.add_new_points_or_box(predictor.init_state(video), 0, 1, **how)[2]
            for how in asked
        ]
        for answer in answers[1:]:
            torch.testing.assert_close(answer, answers[0], atol=1e-4, rtol=0)

    def test_points_are_added_to_old_ones_or_replace_them(self, predictor, state):
        predictor.add_new_points_or_box(state, 0, 1, box=[17, 44, 76, 74])
        predictor.add_new_points_or_box(state, 0, 1, BLOB, [0], clear_old_points=False)
        added = state.prompts[1][0]
        assert (added.xy, added.foreground) == (((60.0, 50.0),), (False,))
        assert added.box is not None
        predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
        assert state.prompts[1][0].box is None

    def test_a_mask_of_another_size_is_resized(self, predictor, video):
        mask = np.zeros((48, 80), np.uint8)
        mask[10:30, 20:50] = 255
        doubled = mask.repeat(2, 0).repeat(2, 1)
        small, large = (
            predictor.add_new_mask(predictor.init_state(video), 0, 1, m)[2] for m in (mask, doubled)
        )
        assert ((small > 0) != (large > 0)).sum() <= 8

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({}, "give points with labels, a box, or both"),
            ({"points": BLOB}, "points and labels go together"),
            ({"points": BLOB, "labels": [1, 0]}, r"\(1, 2\) with 2 labels"),
            ({"points": BLOB, "labels": [7]}, r"unknown labels \[7\]"),
            ({"points": BLOB, "labels": [2]}, "give a box only once"),
            ({"box": [1, 2, 3]}, "a box is x0, y0, x1, y1, got 3"),
            ({"box": [1, 2, 3, 4], "clear_old_points": False}, "a box comes before any point"),
            ({"points": [[400, 50]], "labels": [1]}, "lies outside"),
            ({"points": [[60, 98]], "labels": [1]}, "lies outside"),
        ],
    )
    def test_that_cannot_be_used(self, predictor, state, asked, message):
        with pytest.raises(InputError, match=message):
            predictor.add_new_points_or_box(state, 0, 1, **asked)
        assert state.obj_ids == []

    def test_masks_that_cannot_be_used(self, predictor, state):
        with pytest.raises(InputError, match="two dimensions"):
            predictor.add_new_mask(state, 0, 1, np.ones((1, 96, 160)))

    def test_on_a_frame_that_is_not_there(self, predictor, state):
        for index in (6, -1):
            with pytest.raises(InputError, match=f"there is no frame {index}"):
                predictor.add_new_points_or_box(state, index, 1, BLOB, [1])
            with pytest.raises(InputError, match=f"there is no frame {index}"):
                predictor.add_new_mask(state, index, 1, np.zeros((96, 160)))
        assert state.obj_ids == []
        predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
        assert predictor.add_new_points_or_box(state, np.int64(0), 1, BLOB, [1])[0] == 0
        for number in ("0", 0.5, None):
            with pytest.raises(InputError, match="a frame's number is a whole number"):
                predictor.add_new_points_or_box(state, number, 1, BLOB, [1])
        with pytest.raises(InputError, match="there is no frame -1"):
            next(predictor.propagate_in_video(state, -1))


def test_before_any_prompt_there_is_nothing_to_track(predictor, state):
    with pytest.raises(InputError, match="nothing to track"):
        next(predictor.propagate_in_video(state))


def test_an_answer_shows_every_object_and_nothing_of_those_not_seen_there(predictor, state):
    predictor.add_new_points_or_box(state, 2, 9, BLOB, [1])
    _, ids, logits = predictor.add_new_points_or_box(state, 0, 4, BLOB, [1])
    assert ids == [9, 4]
    assert logits.shape == (2, 1, 96, 160)
    assert (logits[0] == NOWHERE).all()
    assert (logits[1] > NOWHERE).any()


def test_an_object_may_come_after_tracking_has_begun(predictor, state):
    predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
    alone = [m for _, _, m in predictor.propagate_in_video(state)]
    predictor.add_new_points_or_box(state, 0, 2, [[20, 20]], [1])
    both = [m for _, _, m in predictor.propagate_in_video(state)]
    for before, after in zip(alone, both, strict=True):
        close(after[:1], before)


@pytest.mark.parametrize("autocast", [False, True])
def test_frames_encoded_ahead_change_nothing_even_if_the_loop_prompts(predictor, video, autocast):
    def played(step: Any) -> list[Tensor]:
        state = predictor.init_state(video)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
            masks = []
            for index, _, logits in step(state):
                masks.append(logits)
                if index == 2:  # a correction of the frame just tracked, and another object
                    masks.append(
                        predictor.add_new_points_or_box(state, 2, 1, [[90.0, 20.0]], [0])[2]
                    )
                    masks.append(predictor.add_new_points_or_box(state, 2, 2, [[20, 20]], [1])[2])
        return masks

    def one_by_one(state: InferenceState) -> Any:
        predictor.propagate_in_video_preflight(state)
        return (predictor.follow(state, frame) for frame in state.source.frames(0))

    ahead, alone = played(predictor.propagate_in_video), played(one_by_one)
    assert len(ahead) == len(alone) == 8
    for one, other in zip(ahead, alone, strict=True):
        assert torch.equal(one, other)


def test_a_prompt_that_is_taken_back_is_as_one_that_was_never_made(predictor, video):
    once, twice = predictor.init_state(video), predictor.init_state(video)
    for state in (once, twice):
        predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
    predictor.add_new_points_or_box(twice, 3, 1, [[20, 20]], [1])
    _, ids, logits = predictor.clear_all_prompts_in_frame(twice, frame_idx=3, obj_id=1)
    assert ids == [1]
    assert (logits == NOWHERE).all()
    for (_, _, one), (_, _, two) in zip(
        predictor.propagate_in_video(once), predictor.propagate_in_video(twice), strict=True
    ):
        close(two, one)


def test_an_object_without_prompts_stays_known_but_is_nowhere(predictor, state):
    predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
    predictor.add_new_points_or_box(state, 0, 2, BLOB, [1])
    _, ids, logits = predictor.clear_all_prompts_in_frame(state, 0, 1)
    assert ids == [1, 2]
    assert (logits[0] == NOWHERE).all()
    for _, ids, logits in predictor.propagate_in_video(state, 0, 1):
        assert ids == [1, 2]
        assert (logits[0] == NOWHERE).all()
    assert predictor.clear_all_prompts_in_frame(state, 5, 2, need_output=False) is None
    with pytest.raises(InputError, match="there is no object 3"):
        predictor.clear_all_prompts_in_frame(state, 0, 3)


def test_a_removed_keyframe_is_not_queried_again(predictor, video):
    class Told:
        asked: list[list[int]]

        def __init__(self) -> None:
            self.asked = []

        def encode(self, requests: Any, query: Any, features: Any) -> list[None]:
            self.asked.append([k.frame.index for k in requests[0].keyframes])
            return [None]

    told = Told()
    tracker = replace(predictor.tracker, trigger=Every(1), concept=told, keyframes=1)
    asking = VideoPredictor(tracker)
    state = asking.init_state(video)
    for index in (0, 2):
        asking.add_new_mask(state, index, 1, np.ones((96, 160)))
    asking.clear_all_prompts_in_frame(state, 0, 1)
    list(asking.propagate_in_video(state))
    assert told.asked
    assert all(asked == [2] for asked in told.asked)


def test_removing_an_object_leaves_the_others_as_they_were(predictor, video):
    both, alone = predictor.init_state(video), predictor.init_state(video)
    for state in (both, alone):
        predictor.add_new_points_or_box(state, 0, 2, BLOB, [1])
    predictor.add_new_points_or_box(both, 0, 1, [[20, 20]], [1])
    predictor.add_new_points_or_box(both, 3, 1, [[20, 20]], [1])
    ids, updated = predictor.remove_object(both, 1)
    assert ids == [2]
    assert [(i, tuple(m.shape)) for i, m in updated] == [(0, (1, 1, 96, 160)), (3, (1, 1, 96, 160))]
    for (_, _, one), (_, _, two) in zip(
        predictor.propagate_in_video(alone), predictor.propagate_in_video(both), strict=True
    ):
        close(two, one)


def test_removing_an_object_that_is_not_there(predictor, state):
    assert predictor.remove_object(state, 4) == ([], [])
    with pytest.raises(InputError, match="there is no object 4"):
        predictor.remove_object(state, 4, strict=True)


def test_after_a_reset_the_video_begins_anew(predictor, state):
    predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
    before = [m for _, _, m in predictor.propagate_in_video(state)]
    predictor.reset_state(state)
    assert state.obj_ids == []
    predictor.add_new_points_or_box(state, 0, 1, BLOB, [1])
    after = [m for _, _, m in predictor.propagate_in_video(state)]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_every_frame_can_be_corrected_unless_memory_is_to_stay_small(predictor, tmp_path):
    folder = write_frames(tmp_path / "frames", moving_blob(24))
    kept = {}
    for small in (False, True):
        tracker = replace(predictor.tracker, policy=ReliableMemory(slots=3, pointers=3))
        sparing = VideoPredictor(tracker)
        state = sparing.init_state(folder, offload_state_to_cpu=small)
        sparing.add_new_points_or_box(state, 0, 1, BLOB, [1])
        list(sparing.propagate_in_video(state))
        kept[small] = len(state.session.tracks[1][0].bank.tracked)
    assert kept[False] == 23
    assert kept[True] <= 3


class TestNames:
    """What weights may be called."""

    def test_a_recipe_or_what_its_weights_are_called_on_the_hub(self):
        assert recipe_for("sec_compact") == find_recipe("sec_compact")
        assert recipe_for("facebook/sam2.1-hiera-base-plus") == find_recipe("sam2_base_plus")
        assert recipe_for("OpenIXCLab/SeC-4B") == find_recipe("sec_4b")
        assert recipe_for(find_recipe("sam2_tiny")) == find_recipe("sam2_tiny")

    def test_a_file_of_sam_2_or_of_sec(self, checkpoint):
        sam2, sec = (recipe_for(tiny_weights_file(n)) for n in ("sam2", "sec"))
        assert (sam2.network, sec.network) == ("sam2", "sec")
        assert recipe_for(checkpoint).network == "sec"
        assert recipe_for(checkpoint).weights == str(checkpoint)

    def test_sam_2_before_2_1_is_refused_with_the_name_to_take(self):
        with pytest.raises(InputError, match=r"use facebook/sam2\.1-hiera-large"):
            recipe_for("facebook/sam2-hiera-large")

    def test_a_name_of_nothing(self):
        with pytest.raises(CheckpointError, match="no weights file or folder"):
            recipe_for("sam2.1_hiera_large.pt")

    def test_options_of_sam_2_are_taken_over(self, checkpoint):
        built = build_sam2_video_predictor(
            "configs/sam2.1/sam2.1_hiera_l.yaml",
            checkpoint,
            "cpu",
            apply_postprocessing=False,
        )
        assert not built.tracker.segmenter.options.stability_fallback
        assert built.tracker.segmenter.options.compiled == "no"
        assert built.tracker.concept is not None
