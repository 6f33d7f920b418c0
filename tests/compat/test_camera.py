"""Camera loops as forks of SAM 2 have them, and frames in memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.official_calls import frames, tiny
from segment_concept import open_video
from segment_concept.compat import CameraPredictor, VideoPredictor
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError
from segment_concept.video.memory_frames import MemoryFrames, rgb_of

BOX = np.array([[17, 44], [76, 74]])


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    return Tracker(tiny())


@pytest.fixture
def camera(tracker) -> CameraPredictor:
    return CameraPredictor(tracker)


class TestCamera:
    def test_it_follows_as_a_video_is_followed(self, tracker, camera):
        pictures = frames().numpy()
        camera.load_first_frame(pictures[0])
        index, ids, first = camera.add_new_prompt(frame_idx=0, obj_id=3, bbox=BOX)
        assert (index, ids) == (0, [3])
        seen = [first]
        for picture in pictures[1:4]:
            ids, logits = camera.track(picture)
            assert ids == [3]
            seen.append(logits)
        video = VideoPredictor(tracker)
        state = video.init_state(pictures[:4])
        video.add_new_points_or_box(state, 0, 3, box=BOX)
        for ours, (_, _, expected) in zip(seen, video.propagate_in_video(state), strict=True):
            # a camera's video has no known length, by which SAM 2 divides distances
            assert (ours - expected).abs().max() < 0.5

    def test_objects_are_shown_and_corrected_on_the_newest_frame(self, camera):
        pictures = frames().numpy()
        camera.load_first_frame(Image.fromarray(pictures[0]))
        camera.add_new_points(0, 1, [[60, 50]], [1])
        camera.add_conditioning_frame(pictures[1])
        camera.add_new_points(1, 1, [[60, 50]], [1])
        camera.track(pictures[2])
        assert camera.frame_idx == 2
        index, ids, logits = camera.add_new_mask(2, 2, np.ones((96, 160), bool))
        assert (index, ids, tuple(logits.shape)) == (2, [1, 2], (2, 1, 96, 160))
        assert camera.track(pictures[3])[0] == [1, 2]
        with pytest.raises(InputError, match="frame 0 is not the newest"):
            camera.add_new_prompt(0, 1, bbox=BOX)

    def test_nothing_grows_but_the_numbers_of_frames(self, camera):
        picture = frames()[0].numpy()
        camera.load_first_frame(picture)
        camera.add_new_prompt(0, 1, bbox=BOX)
        sizes = []
        for _ in range(40):
            camera.track(picture)
            (track,) = camera.condition_state.session.tracks[1]
            sizes.append(len(track.bank.tracked))
        assert set(sizes[-8:]) == {max(sizes)}

    def test_calls_in_the_wrong_order_are_refused(self, camera):
        with pytest.raises(InputError, match="call load_first_frame first"):
            camera.track(frames()[0].numpy())
        camera.load_first_frame(frames()[0].numpy())
        with pytest.raises(InputError, match="nothing to track"):
            camera.track(frames()[1].numpy())
        camera.add_new_prompt(0, 1, bbox=BOX)
        camera.reset_state()
        assert camera.condition_state["obj_ids"] == []


class TestFramesInMemory:
    PICTURES = np.random.default_rng(1).integers(0, 256, (3, 8, 10, 3), np.uint8)

    @pytest.mark.parametrize(
        "given",
        [
            PICTURES,
            list(PICTURES),
            [Image.fromarray(picture) for picture in PICTURES],
            torch.from_numpy(PICTURES),
            torch.from_numpy(PICTURES).permute(0, 3, 1, 2),
            PICTURES.transpose(0, 3, 1, 2) / 255,
            (torch.from_numpy(PICTURES) / 255).half().float(),
            PICTURES.astype(np.float32) / 255,
        ],
        ids=["array", "list", "Pillow", "tensor", "CHW", "CHW floats", "halves", "floats"],
    )
    def test_in_every_form_they_are_the_same_video(self, given):
        source = open_video(given)
        assert (source.info.frames, source.info.size) == (3, (8, 10))
        for index, frame in enumerate(source.frames()):
            assert frame.index == index
            assert frame.rgb.dtype == np.uint8
            np.testing.assert_array_equal(frame.rgb, self.PICTURES[index])
        assert [frame.index for frame in source.backwards(1)] == [1, 0]
        assert [frame.index for frame in source.frames(2)] == [2]
        assert source.index_at(0.05) == 1
        assert source.frame_name(2) == "00002"

    def test_grey_is_repeated(self):
        grey = np.arange(80, dtype=np.uint8).reshape(8, 10)
        assert (rgb_of(grey) == grey[..., None]).all()

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([], "there is no frame"),
            (7, "a int is no video"),
            ([np.zeros((8, 10, 4), np.uint8)], "expected RGB images"),
            ([np.zeros((8, 10, 3), np.int64)], "expected RGB images"),
            ([np.zeros((0, 10, 3), np.uint8)], "expected RGB images"),
            ([PICTURES[0], PICTURES[0, :4]], "frame 1 is 10x4 but the first one is 10x8"),
        ],
    )
    def test_a_file_that_is_no_video_is_refused(self, given, message):
        with pytest.raises(InputError, match=message):
            open_video(given)

    @pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), 255.0])
    def test_floats_are_from_0_to_1(self, value):
        source = MemoryFrames([np.full((8, 10, 3), value)])
        with pytest.raises(InputError, match="floats from 0 to 1"):
            next(source.frames())
