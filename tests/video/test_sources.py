"""Reading videos: whatever they are, a frame is the same however it is reached."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from helpers.video_toys import Film, damaged, picture, write_film, write_folder
from segment_concept.runtime.background import read_ahead
from segment_concept.types import InputError
from segment_concept.video import video_file as files
from segment_concept.video.image_folder import ImageFolder
from segment_concept.video.image_sequence import natural
from segment_concept.video.live import LiveVideo
from segment_concept.video.open import open_video, webcam
from segment_concept.video.source import VideoSource, read_frame
from segment_concept.video.video_file import VideoFile

FILMS = {
    "h264.mp4": Film(b_frames=2),
    "h264.mkv": Film(b_frames=2),
    "h264.ts": Film(b_frames=2),
    "h264.avi": Film(b_frames=2),  # AVI knows no presentation times
    "file_order.mp4": Film(b_frames=2, in_file_order=True),  # what made it did not reorder times
    "raw.h264": Film(b_frames=2),  # nor does a raw stream
    "hevc.mp4": Film("libx265", options={"x265-params": "log-level=none"}),
    "vp8.webm": Film("libvpx"),
    "vp9.webm": Film("libvpx-vp9", options={"cpu-used": "8"}),
    "mpeg2.mpg": Film("mpeg2video", b_frames=1),
    "mpeg4.avi": Film("mpeg4", b_frames=0),
    "motion.mov": Film("mjpeg", pixels="yuvj420p"),
    "still.gif": Film("gif", pixels="rgb8"),
}


@pytest.fixture(scope="module", params=[*FILMS, "folder"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VideoSource:
    path = tmp_path_factory.mktemp("source")
    if request.param == "folder":
        return open_video(write_folder(path / "folder", [f"{i}.png" for i in range(20)]))
    return open_video(write_film(path / request.param, FILMS[request.param]))


def test_frames_are_counted_and_look_like_what_was_encoded(source: VideoSource) -> None:
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(20))
    # A GIF of 256 colors is farthest off.
    assert max(np.abs(f.rgb.astype(int) - picture(f.index)).mean() for f in frames) < 24
    assert frames[0].size == source.info.size


@pytest.mark.parametrize("start", [0, 1, 5, 6, 7, 13, 19])
def test_a_frame_in_the_middle_is_the_same_as_in_order(source: VideoSource, start: int) -> None:
    frames = list(source.frames())
    found = list(source.frames(start))
    assert [f.index for f in found] == list(range(start, 20))
    assert all((f.rgb == frames[f.index].rgb).all() for f in found)
    assert [f.seconds for f in found] == [f.seconds for f in frames[start:]]


def test_played_backwards_the_frames_are_the_same(
    source: VideoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_FRAMES", (4, 4))
    frames = list(source.frames())
    found = list(source.backwards(17))
    assert [f.index for f in found] == list(range(17, -1, -1))
    assert all((f.rgb == frames[f.index].rgb).all() for f in found)


def test_a_moment_is_the_frame_on_screen_then(source: VideoSource) -> None:
    rate = source.info.rate
    assert source.index_at(0) == 0
    assert source.index_at(float(7 / rate)) == 7
    assert source.index_at(float(Fraction(15, 2) / rate)) == 7


def test_there_is_no_frame_after_the_last(source: VideoSource) -> None:
    assert list(source.frames(20)) == []
    with pytest.raises(InputError, match="no frame 20"):
        read_frame(source, 20)


def test_backward_reading_buffers_no_more_than_a_chunk(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    original = VideoFile._pictures

    def counted(self: VideoFile, start: int):  # type: ignore[no-untyped-def]
        held.append(start)
        return original(self, start)

    monkeypatch.setattr(VideoFile, "_pictures", counted)
    monkeypatch.setattr(files, "CHUNK_BYTES", 5 * 64 * 96 * 3)
    assert len(list(VideoFile(film).backwards(19))) == 20
    # Chunks begin at keyframes (every sixth frame) where one is near.
    assert held == [18, 13, 12, 7, 6, 1, 0]


def test_uneven_frame_times_are_kept(tmp_path: Path) -> None:
    pts = (0, 40, 55, 200, 233, 700)
    source = open_video(write_film(tmp_path / "uneven.mkv", Film(pts=pts)))
    assert [f.seconds for f in source.frames()] == pytest.approx([p / 1000 for p in pts])
    assert [f.seconds for f in source.frames(3)] == pytest.approx([p / 1000 for p in pts[3:]])
    assert [source.index_at(s) for s in (0.0, 0.054, 0.055, 0.6, 0.7)] == [0, 1, 2, 4, 5]


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    source = open_video(write_film(tmp_path / "late.ts", Film()))  # begins at 1.4 s or so
    assert next(source.frames()).seconds == 0


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"),
    reason="this PyAV cannot make a turned video (it can read one)",
)
@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_video_is_read_upright(tmp_path: Path, turned: int) -> None:
    straight = next(open_video(write_film(tmp_path / "a.mp4")).frames()).rgb
    source = open_video(write_film(tmp_path / "b.mp4", Film(turned=turned)))
    found = next(source.frames())
    assert found.size == source.info.size
    upright = np.rot90(straight, turned // 90)  # the matrix turns to the left
    # x264 does not make the very same file twice.
    assert np.abs(found.rgb.astype(int) - upright).mean() < 1


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "mpeg4.avi", "motion.mov", "vp9.webm"])
def test_a_damaged_frame_is_left_out_and_named(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_film(tmp_path / name, FILMS[name])
    broken = damaged(whole, tmp_path / f"broken-{name}", {9})
    source = open_video(broken)
    with caplog.at_level(logging.WARNING):
        found = [f.index for f in source.frames()]
    assert 9 not in found
    assert found[:9] == list(range(9))
    assert found[-5:] == [15, 16, 17, 18, 19]
    assert "frame 9 " in caplog.text or "frames 9 to" in caplog.text
    assert broken.name in caplog.text


def test_frames_after_a_damaged_one_keep_their_numbers_however_they_are_reached(
    tmp_path: Path,
) -> None:
    whole = write_film(tmp_path / "a.mov", FILMS["motion.mov"])
    source = open_video(damaged(whole, tmp_path / "b.mov", {9}))
    frames = {f.index: f for f in source.frames()}
    assert sorted(frames) == [i for i in range(20) if i != 9]
    assert (read_frame(source, 12).rgb == frames[12].rgb).all()
    assert [f.index for f in source.backwards(12)] == [12, 11, 10, *range(8, -1, -1)]
    with pytest.raises(InputError, match=r"frame 9 of b\.mov is damaged"):
        read_frame(source, 9)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*none\.mp4"):
        open_video(tmp_path / "none.mp4")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="is empty"):
        open_video(tmp_path / "empty.mp4")


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a video " * 100)
    with pytest.raises(InputError, match=r"notes\.txt.*(cannot be opened|no video)"):
        open_video(tmp_path / "notes.txt")


def test_a_file_with_sound_only_is_refused(tmp_path: Path, film: Path) -> None:
    path = tmp_path / "sound.m4a"
    with av.open(str(film)) as given, av.open(str(path), "w", format="mp4") as out:
        made = out.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = made
                out.mux(packet)
    with pytest.raises(InputError, match="no video stream"):
        open_video(path)


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.mkv", Film(frames=40)).read_bytes()
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) // 2])
    assert 5 < len(list(open_video(tmp_path / "half.mkv").frames())) < 40


def test_images_go_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    names = ["f_1.png", "f_2.PNG", "f_9.jpg", "f_10.jpeg", "f_0100.webp", "f_101.JPG"]
    source = open_video(write_folder(tmp_path / "frames", names))
    (tmp_path / "frames" / "notes.txt").write_text("not a frame")
    (tmp_path / "frames" / ".hidden.png").write_bytes(b"")
    assert [source.frame_name(i) for i in range(6)] == [Path(n).stem for n in names]
    assert [f.index for f in source.frames()] == list(range(6))
    assert source.info.frames == 6


def test_names_sort_by_number_wherever_it_stands() -> None:
    names = ["a10b2", "a2b10", "A2b9", "a02b1", "b1", "7", "07x"]
    assert sorted(names, key=natural) == ["7", "07x", "a02b1", "A2b9", "a2b10", "a10b2", "b1"]


def test_a_damaged_image_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder(tmp_path / "frames", [f"{i:05d}.jpg" for i in range(5)])
    (folder / "00002.jpg").write_bytes(b"rubbish")
    (folder / "00003.jpg").write_bytes(b"")
    assert [f.index for f in open_video(folder).frames()] == [0, 1, 4]
    assert "00002.jpg" in caplog.text
    assert "00003.jpg" in caplog.text


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        open_video(tmp_path)


def test_an_image_and_a_mask_of_the_same_name_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", ["00000.jpg", "00000.png"])
    with pytest.raises(InputError, match=r"00000\.jpg and 00000\.png"):
        open_video(folder)


def test_a_turned_photo_is_read_upright(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "frames" / "0.jpg"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    Image.fromarray(picture(0)).save(path, exif=exif)
    assert ImageFolder(path.parent).info.size == (96, 64)


def test_a_live_source_is_read_once_and_forwards(film: Path) -> None:
    live = LiveVideo(str(film))
    assert live.info.live
    assert live.index_at(0) == 0
    with pytest.raises(InputError, match="live"):
        live.index_at(1.0)
    with pytest.raises(InputError, match="backwards"):
        live.backwards(3)
    frames = list(live.frames())
    assert [f.index for f in frames] == list(range(20))
    assert frames[5].seconds == pytest.approx(0.2)
    with pytest.raises(InputError, match="no going back"):
        next(live.frames())


def test_a_finite_stream_can_be_played_backwards(film: Path) -> None:
    assert isinstance(open_video(f"file://{film}"), VideoFile)


def test_cameras_are_named_as_the_system_names_them() -> None:
    assert webcam(1, "linux") == ("/dev/video1", "v4l2")
    assert webcam(0, "darwin") == ("0:none", "avfoundation")
    assert webcam(2, "win32") == ("2", "vfwcap")


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="video97 cannot be opened"):
        open_video("97")


def test_few_frames_are_read_ahead(film: Path) -> None:
    read: list[int] = []

    def frames():  # type: ignore[no-untyped-def]
        for frame in VideoFile(film).frames():
            read.append(frame.index)
            yield frame

    source = read_ahead(frames(), depth=3)
    next(source)
    source.close()
    assert len(read) <= 6  # one taken, three waiting, one in hand, one being read


def test_an_error_while_reading_ahead_is_raised_at_its_frame() -> None:
    def frames():  # type: ignore[no-untyped-def]
        yield 1
        raise InputError("broken")

    source = read_ahead(frames())
    assert next(source) == 1
    with pytest.raises(InputError, match="broken"):
        next(source)


def test_the_image_library_keeps_channels_in_order(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((4, 4, 3), (255, 0, 0), np.uint8))  # blue
    assert next(ImageFolder(tmp_path).frames()).rgb[0, 0].tolist() == [0, 0, 255]
