"""Cut lists: EDLs and plain text."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest

from segment_concept.shots.cut_lists import cuts_of_edl, read_cuts
from segment_concept.types import InputError
from segment_concept.video.source import VideoInfo, frame_at
from segment_concept.video.timecode import frame_of_timecode

RATE = Fraction(25)
EDL = """TITLE: REEL ONE
FCM: NON-DROP FRAME

001  AX       V     C        00:00:10:00 00:00:14:00 01:00:00:00 01:00:04:00
* FROM CLIP NAME: A.MOV
002  BX       V     C        00:01:00:00 00:01:02:12 01:00:04:00 01:00:06:12
003  BX       A     C        00:01:00:00 00:01:09:00 01:00:01:00 01:00:10:00
004  CX       AA/V  C        00:00:00:00 00:00:02:00 01:00:06:12 01:00:08:12
"""
DISSOLVE = """TITLE: D
001  AX  V  C      00:00:00:00 00:00:04:00 10:00:00:00 10:00:04:00
002  AX  V  C      00:00:04:00 00:00:04:00 10:00:04:00 10:00:04:00
002  BX  V  D 024  00:00:10:00 00:00:14:00 10:00:04:00 10:00:08:00
003  CX  V  W001 012  00:00:10:00 00:00:12:00 10:00:08:00 10:00:10:00
"""


@dataclass
class Film:
    """A video of which only the clock is asked."""

    name: str = "film.mp4"
    info: VideoInfo = field(
        default_factory=lambda: VideoInfo((9, 16), RATE, Fraction(1, 25), frames=300)
    )

    def index_at(self, seconds: float) -> int:
        if seconds >= 12:
            raise InputError(f"film.mp4 is 12.00 s long: there is no frame at {seconds:g}s")
        return frame_at(seconds, RATE)


def read(tmp_path: Path, text: str) -> list[int]:
    path = tmp_path / "cuts.txt"
    path.write_text(text, encoding="utf-8")
    return sorted(read_cuts(path, Film()))  # type: ignore[arg-type]


def test_record_times_of_video_events_are_read_from_an_edl(tmp_path: Path) -> None:
    assert read(tmp_path, EDL) == [100, 162]


def test_an_edl_may_have_any_name_windows_lines_and_a_mark_of_its_encoding(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + EDL.replace("\n", "\r\n")) == [100, 162]


def test_after_a_dissolve_or_a_wipe_the_shot_begins_when_it_is_over() -> None:
    assert sorted(cuts_of_edl(DISSOLVE, RATE)) == [124, 212]


def test_black_between_two_events_is_a_shot() -> None:
    gap = EDL.replace("01:00:04:00 01:00:06:12", "01:00:05:00 01:00:06:12")
    assert sorted(cuts_of_edl(gap, RATE)) == [100, 125, 162]


def test_reel_names_may_have_spaces_and_events_may_come_in_any_order() -> None:
    lines = EDL.replace("BX       V ", "B REEL 7 V ").splitlines()
    assert sorted(cuts_of_edl("\n".join([*lines[:2], *reversed(lines[2:])]), RATE)) == [100, 162]


@pytest.mark.parametrize(
    ("code", "rate", "frame"),
    [
        ("00:00:00:24", Fraction(25), 24),
        ("01:00:00:00", Fraction(25), 90000),
        ("00:00:01:00", Fraction(24000, 1001), 24),
        ("00:00:59;29", Fraction(30000, 1001), 1799),
        ("00:01:00;02", Fraction(30000, 1001), 1800),
        ("00:10:00;00", Fraction(30000, 1001), 17982),
        ("01:00:00;00", Fraction(60000, 1001), 215784),
        ("00:01:00:02", Fraction(30000, 1001), 1802),
    ],
)
def test_timecodes_are_counted_at_the_videos_rate(code: str, rate: Fraction, frame: int) -> None:
    assert frame_of_timecode(code, rate) == frame


def test_drop_frame_is_also_said_by_the_head_of_the_list() -> None:
    ntsc = Fraction(30000, 1001)
    head = "FCM: DROP FRAME\n"
    event = "001 AX V C 00:00:00:00 00:01:00:02 00:00:00:00 00:01:00:02\n"
    event += "002 AX V C 00:00:00:00 00:00:01:00 00:01:00:02 00:01:01:02\n"
    assert sorted(cuts_of_edl(head + event, ntsc)) == [1800]
    assert sorted(cuts_of_edl(head.replace("DROP", "NON-DROP") + event, ntsc)) == [1802]


def test_a_plain_list_holds_frames_and_moments(tmp_path: Path) -> None:
    assert read(tmp_path, "# cuts of the trailer\n0\n12, 40  4.8s # a dissolve\n\n40\n") == [
        12,
        40,
        120,
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12\nsoon\n", "line 2: 'soon' is no place in a video"),
        ("12 -4", "line 1: frame -4: frames count from 0"),
        ("40s", r"line 1: film\.mp4 is 12\.00 s long"),
        ("# none\n", "lists no cut"),
        ("400 500", "first cut is on frame 400 and film.mp4 has about 300 frames"),
        (EDL.replace("V  ", "A  ").replace("AA/V", "AA"), "no video event"),
        (EDL.replace("00:01:02:12 01", "01"), "line 6: .* is not an event of a CMX 3600 EDL"),
        (EDL.replace("01:00:06:12", "01:00:06:25"), "line 6: there is no timecode 01:00:06:25"),
        (EDL.replace("01:00:04:00 01:00:06:12", "01:00:04:00 01:00:03:00"), "ends .* before"),
    ],
)
def test_an_invalid_cut_list_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, text)


def test_a_list_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no cut list"):
        read_cuts(tmp_path / "none.edl", Film())  # type: ignore[arg-type]
    (tmp_path / "film.mp4").write_bytes(b"\xff\xfe\x00\x81\x9f")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_cuts(tmp_path / "film.mp4", Film())  # type: ignore[arg-type]
