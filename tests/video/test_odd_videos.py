"""Videos whose times, headers, streams or sound are not what one would think."""

import logging
import os
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from helpers.video_cases import (
    with_aspect,
    with_matrix,
    write_sound,
    write_streams,
    write_times,
)
from helpers.video_toys import HEIGHT, WIDTH, Film, damaged, picture, presentation_times, write_film
from segment_concept.types import Frame, InputError
from segment_concept.video.decode import Camera, rate_of
from segment_concept.video.draw import to_i420
from segment_concept.video.encode import PartWriter, join
from segment_concept.video.frame_index import FrameIndex, PacketTimes
from segment_concept.video.open import open_video
from segment_concept.video.source import VideoSource, read_frame


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """A video that is read for ever fails its test."""

    def fail(*_: object) -> None:
        pytest.fail("this does not end")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def looks_like(frame: Frame, index: int) -> bool:
    return float(np.abs(frame.rgb.astype(int) - picture(index)).mean()) < 6


def overlay(source: VideoSource, folder: Path) -> Path:
    """The video written anew, as results are."""
    folder.mkdir(exist_ok=True)
    writer = PartWriter(folder, "o", source.info, 20)
    for frame in source.frames():
        writer.write(frame, to_i420(frame.rgb))
    writer.cut()
    join(folder, writer.parts, source.info, folder / "out.mp4")
    return folder / "out.mp4"


def twice(path: Path) -> VideoSource:
    """Two transport streams one after another: times begin anew."""
    write_film(path, Film(frames=12, b_frames=2))
    path.write_bytes(path.read_bytes() * 2)
    return open_video(path)


def test_two_recordings_one_after_another_are_one_video(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = twice(tmp_path / "a.ts")
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(24))
    assert source.info.frames == 24
    assert all(looks_like(f, f.index % 12) for f in frames)
    seconds = [f.seconds or 0.0 for f in frames]
    assert seconds == sorted(set(seconds))
    assert seconds[-1] == pytest.approx(0.92, abs=0.05)
    assert not caplog.text


@pytest.mark.parametrize("start", [1, 11, 12, 13, 23])
def test_frames_behind_a_jump_back_are_reached(tmp_path: Path, start: int) -> None:
    source = twice(tmp_path / "a.ts")
    assert looks_like(read_frame(source, start), start % 12)
    assert [f.index for f in source.backwards(start)] == list(range(start, -1, -1))


def test_repeated_times_cost_no_frame(tmp_path: Path) -> None:
    times = [40 * (i if i != 4 else 3) for i in range(12)]
    source = open_video(write_times(tmp_path / "a.mkv", times))
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(12))
    assert [read_frame(source, k).index for k in range(12)] == list(range(12))
    assert all(looks_like(read_frame(source, k), k) for k in (3, 4, 5))
    assert [f.index for f in source.backwards(11)] == list(range(11, -1, -1))
    assert frames[4].seconds == pytest.approx(0.16)


def test_two_thousand_frames_a_second_fit_into_milliseconds(tmp_path: Path) -> None:
    source = open_video(write_times(tmp_path / "fast.mkv", [i // 2 for i in range(40)]))
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(40))
    assert frames[-1].seconds == pytest.approx(39 / 2000, abs=1e-6)
    assert source.info.rate == pytest.approx(2000, rel=0.05)
    assert [f.index for f in source.backwards(39)] == list(range(39, -1, -1))
    times = presentation_times(overlay(source, tmp_path / "o"))
    assert len(times) == 40
    assert float(times[-1]) == pytest.approx(39 / 2000, abs=1e-3)


def test_a_video_whose_times_are_all_the_same_is_played_at_its_rate(tmp_path: Path) -> None:
    source = open_video(write_times(tmp_path / "a.mkv", [0] * 30))
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(30))
    assert frames[25].seconds == pytest.approx(25 / float(source.info.rate))


def test_times_that_jump_forward_in_a_broadcast_are_joined(tmp_path: Path) -> None:
    later = [90_000 * 500 + 3600 * i for i in range(12)]
    first = write_times(tmp_path / "a.ts", [3600 * i for i in range(12)], Fraction(1, 90_000))
    second = write_times(tmp_path / "b.ts", later, Fraction(1, 90_000))
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())
    source = open_video(tmp_path / "c.ts")
    frames = list(source.frames())
    assert [f.index for f in frames] == list(range(24))
    assert frames[-1].seconds == pytest.approx(0.92, abs=0.05)


def times_of(*pts: int, dts: tuple[int, ...] | None = None) -> list[PacketTimes]:
    return [PacketTimes(p, d, i == 0) for i, (p, d) in enumerate(zip(pts, dts or pts, strict=True))]


@pytest.mark.parametrize(
    ("packets", "ticks", "scale"),
    [
        (times_of(100, 140, 180), [0, 40, 80], 1),
        (times_of(0, 120, 40, 80, dts=(-40, 0, 40, 80)), [0, 40, 80, 120], 1),
        (times_of(0, 40, 40, 80), [0, 80, 120, 160], 2),
        (times_of(0, 40, 80, 0, 40), [0, 40, 80, 120, 160], 1),
        (times_of(7), [0], 1),
    ],
)
def test_frames_get_times_of_one_clock(
    packets: list[PacketTimes], ticks: list[int], scale: int
) -> None:
    index = FrameIndex.of(packets, packets[0].pts)
    assert index is not None
    assert (index.ticks.tolist(), index.scale) == (ticks, scale)


def test_a_packet_shown_before_the_first_keyframe_is_no_frame() -> None:
    packets = [
        PacketTimes(0, 0, False),
        PacketTimes(120, 40, True),
        PacketTimes(80, 80, False),  # leads the keyframe, and needs the one before it
        PacketTimes(160, 120, False),
    ]
    index = FrameIndex.of(packets, 120)
    assert index is not None
    assert index.pts.tolist() == [120, 160]


def test_frames_lost_at_the_start_do_not_shift_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_film(tmp_path / "a.mov", Film("mjpeg", pixels="yuvj420p"))
    source = open_video(damaged(whole, tmp_path / "b.mov", {0, 1, 2}))
    with caplog.at_level(logging.WARNING):
        frames = list(source.frames())
    assert [f.index for f in frames] == list(range(3, 20))
    assert looks_like(frames[0], 3)
    assert "frames 0 to 2" in caplog.text
    with pytest.raises(InputError, match=r"frame 0 of b\.mov is damaged: .* for example 3"):
        read_frame(source, 0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_a_file_that_was_cut_off_says_so(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_film(tmp_path / f"whole-{name}", Film(frames=40))
    if name == "a.mp4":
        with (
            av.open(str(whole)) as given,
            av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as out,
        ):
            made = out.add_stream_from_template(given.streams.video[0])
            for packet in given.demux(video=0):
                if packet.dts is not None:
                    packet.stream = made
                    out.mux(packet)
        whole = tmp_path / "front.mp4"
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 7 // 10 // 188 * 188 + 100])
    source = open_video(tmp_path / name)
    assert source.info.incomplete is not None
    assert f"{name} is incomplete: its last" in caplog.text
    assert 0 < len(list(source.frames())) < 40
    assert open_video(whole).info.incomplete is None


def test_a_recording_without_its_index_is_called_incomplete(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", Film(frames=24))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.mp4 is incomplete: "):
        open_video(path)


LAYS = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (0, -1, -1, 0): lambda p: p.swapaxes(0, 1)[::-1, ::-1],
}


@pytest.mark.parametrize("matrix", LAYS)
def test_a_picture_is_shown_as_its_matrix_lays_it(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    source = open_video(with_matrix(write_film(tmp_path / "a.mp4"), *matrix))
    frame = next(source.frames())
    expected = LAYS[matrix](picture(0))
    assert frame.size == source.info.size == expected.shape[:2]
    assert np.abs(frame.rgb.astype(int) - expected).mean() < 6


def test_both_sizes_of_a_rotated_video_are_reported(tmp_path: Path) -> None:
    source = open_video(with_matrix(write_film(tmp_path / "a.mp4"), 0, 1, -1, 0))
    assert source.info.stored_size == (HEIGHT, WIDTH)
    assert "stores 96x64 pixels and is shown as 64x96" in source.info.coordinates
    assert not open_video(write_film(tmp_path / "b.mp4")).info.coordinates


def test_pixels_turn_with_the_picture(tmp_path: Path) -> None:
    path = with_aspect(tmp_path / "a.mp4", Fraction(4, 3))
    assert open_video(path).info.pixel_aspect == Fraction(4, 3)
    assert open_video(with_matrix(path, 0, 1, -1, 0)).info.pixel_aspect == Fraction(3, 4)


@pytest.mark.parametrize("name", ["T12:30:45.mp4", "run:1.mp4", "file:x.mp4", "a%03d.mp4"])
def test_a_name_is_a_file_whatever_it_looks_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.replace(write_film(tmp_path / "film.mp4"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    source = open_video(name)
    assert source.info.size == (HEIGHT, WIDTH)
    assert overlay(source, Path("out:1")).exists()


def test_the_default_stream_is_played_and_of_equal_ones_the_largest(tmp_path: Path) -> None:
    sizes = [(32, 48), (64, 96)]
    assert open_video(write_streams(tmp_path / "a.mkv", sizes, 1)).info.size == (64, 96)
    assert open_video(write_streams(tmp_path / "b.mkv", sizes, 0)).info.size == (32, 48)
    assert open_video(write_streams(tmp_path / "c.mkv", sizes, None)).info.size == (64, 96)


def test_a_video_that_changes_its_size_keeps_the_first_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_film(tmp_path / "a.ts", Film(frames=6))
    write_film(tmp_path / "b.ts", Film(frames=6), lambda i: picture(i)[::2, ::2].copy())
    joined = (tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes()
    (tmp_path / "c.ts").write_bytes(joined)
    source = open_video(tmp_path / "c.ts")
    frames = list(source.frames())
    assert {f.size for f in frames} == {(HEIGHT, WIDTH)}
    assert len(frames) == 12
    assert "c.ts changes its size from 96x64 to 48x32" in caplog.text
    assert caplog.text.count("changes its size") == 1


def test_the_rate_is_that_of_the_packets() -> None:
    claimed = Fraction(50)
    assert rate_of(101, Fraction(2), claimed) == 50
    assert rate_of(51, Fraction(2), claimed) == 25
    assert rate_of(49, Fraction(2002, 1000), claimed) == Fraction(24000, 1001)
    assert rate_of(1, Fraction(0), claimed) == 50


def test_an_avi_whose_header_claims_another_rate_is_played_at_that_of_its_packets(
    tmp_path: Path,
) -> None:
    path = write_film(tmp_path / "a.avi", Film("mpeg4", b_frames=0))
    with av.open(str(path)) as given, av.open(str(tmp_path / "b.avi"), "w") as out:
        made = out.add_stream_from_template(given.streams.video[0])
        made.time_base = Fraction(1, 50)
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = made
                packet.pts = packet.dts = 2 * packet.dts
                packet.time_base = Fraction(1, 50)
                out.mux(packet)
    source = open_video(tmp_path / "b.avi")
    frames = list(source.frames())
    assert source.info.frames == len(frames) == 20
    assert frames[-1].seconds == pytest.approx(19 / 25, abs=0.02)
    assert source.info.rate == pytest.approx(25, rel=0.01)


def test_a_picture_is_scaled_only_where_its_size_differs() -> None:
    frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
    assert Camera().rgb(frame).shape == (HEIGHT, WIDTH, 3)
    assert Camera((32, 48), "a").rgb(frame).shape == (32, 48, 3)


def test_a_special_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(InputError, match="is a device or a pipe"):
            open_video(path)


def test_a_message_about_a_file_is_plain(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\xff" * 4000)
    for address in (tmp_path / "a.mp4", "gopher2://host/x", tmp_path / "none.mp4"):
        with pytest.raises(InputError) as told:
            open_video(address)
        assert not any(w in str(told.value) for w in ("Errno", "Protocol", "Invalid data"))


def sound_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [s.codec_context.name for s in container.streams.audio]


def test_sound_of_an_unknown_kind_costs_only_the_sound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sound(tmp_path / "a.mp4")
    data = path.read_bytes().replace(b"mp4a", b"zzza").replace(b"esds", b"zzzb")
    path.write_bytes(data)
    made = overlay(open_video(path), tmp_path / "o")
    assert len(presentation_times(made)) == 24
    assert sound_of(made) == []
    assert "the sound of" in caplog.text


@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_sound_of_many_channels_never_ends_the_process(
    tmp_path: Path, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sound(tmp_path / "a.mov", [layout], "pcm_s16le")
    made = overlay(open_video(path), tmp_path / "o")
    assert len(presentation_times(made)) == 24
    assert sound_of(made) == (["aac"] if layout == "5.1" else [])
    assert ("it has 8 channels" in caplog.text) == (layout == "7.1")


def test_the_sound_track_with_the_most_data_is_kept(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp4", ["mono", "stereo"], silent=[0])
    made = overlay(open_video(path), tmp_path / "o")
    with av.open(str(made)) as container:
        (sound,) = container.streams.audio
        assert sound.codec_context.channels == 2


def test_whatever_fails_in_sound_the_video_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from segment_concept.video import encode

    real = encode.audio_of

    def broken(sound: object, *rest: object):  # type: ignore[no-untyped-def]
        if sound is not None:
            raise RuntimeError("nobody thought of this")
        return real(None, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encode, "audio_of", broken)
    made = overlay(open_video(write_sound(tmp_path / "a.mp4")), tmp_path / "o")
    assert len(presentation_times(made)) == 24
    assert "out.mp4 has no sound" in caplog.text


def test_frames_hidden_by_an_edit_list_are_not_counted(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", Film(frames=24, gop=50))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # version, count, the first entry's duration
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
    begin = int.from_bytes(data[at : at + 4], "big") + round(Fraction(10, 25) / base)
    data[at : at + 4] = begin.to_bytes(4, "big")  # its media time: ten frames later
    path.write_bytes(data)
    source = open_video(path)
    frames = list(source.frames())
    assert source.info.frames == len(frames) < 24
    assert source.info.incomplete is None
    assert looks_like(frames[0], 24 - len(frames))
