"""Every frame that the page shows is the frame that it says, whatever the frame rate."""

from pathlib import Path
from typing import Any

import pytest

from helpers.video_toys import Film, write_film, write_folder
from helpers.web_page import Person, pattern

FRAMES = 48
# Intervals between 20 and 180 ms, in an order without a period.
_INTERVALS = (20, 40, 40, 33, 100, 33, 34, 180, 21, 60, 41)
VARIABLE = tuple(sum(_INTERVALS[i % 11] for i in range(k)) for k in range(FRAMES))


FILMS = {
    "constant.mp4": Film(frames=FRAMES, gop=12, b_frames=2),
    "variable.mp4": Film(pts=VARIABLE, gop=12, b_frames=2),
    "constant.webm": Film(codec="libvpx-vp9", frames=FRAMES, gop=12),
}


def slow(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos whose frames bear their index."""
    folder = tmp_path_factory.mktemp("patterns")
    for name, film in FILMS.items():
        write_film(folder / name, film, pattern)
    write_folder(folder / "images", (f"{i:04d}.png" for i in range(FRAMES)), pattern)
    return folder


def opened(window: Any, server: Any, source: Path) -> Person:
    target = server.root / source.name
    if target.exists():
        return _open(window, server, source)
    if source.is_dir():
        target.mkdir()
        for each in source.iterdir():
            (target / each.name).write_bytes(each.read_bytes())
    else:
        target.write_bytes(source.read_bytes())
    return _open(window, server, source)


def _open(window: Any, server: Any, source: Path) -> Person:
    person = Person(window, size=(64, 256))
    person.open(server.url, source.name)
    person.wait_for(
        "n => document.getElementById('frame-total').textContent === `/ ${n}`", FRAMES - 1
    )
    return person


@pytest.mark.parametrize(
    "name", [slow("constant.mp4"), slow("variable.mp4"), slow("constant.webm")]
)
def test_every_frame_reached_by_key_bears_its_number(
    window: Any, server: Any, films: Path, name: str
) -> None:
    person = opened(window, server, films / name)
    for index in range(FRAMES):
        person.wait_for_frame(index)
        person.wait_for("() => new Promise(done => requestAnimationFrame(() => done(true)))")
        assert person.number() == index
        person.keys("ArrowRight")


def test_every_frame_reached_by_dragging_over_the_timeline_bears_its_number(
    window: Any, server: Any, films: Path
) -> None:
    person = opened(window, server, films / "variable.mp4")
    box = window.locator("#timeline").bounding_box()
    window.mouse.move(box["x"] + 2, box["y"] + 10)
    window.mouse.down()
    for index in range(0, FRAMES, 5):
        x = box["x"] + (index + 0.5) / FRAMES * box["width"]
        window.mouse.move(x, box["y"] + 10)
        person.wait_for_frame(index)
        person.wait_for("() => new Promise(done => requestAnimationFrame(() => done(true)))")
        assert person.number() == index
    window.mouse.up()


SAMPLES = """async ({ places, last }) => {
    const canvas = document.getElementById('stage'), context = canvas.getContext('2d');
    const ratio = canvas.width / canvas.clientWidth, seen = [];
    const y = Math.round(places[0][1] * ratio);
    const columns = places.map(([x]) => 4 * Math.round(x * ratio));
    canvas.dispatchEvent(new KeyboardEvent('keydown', { key: ' ', bubbles: true }));
    for (let left = 600; left && Number(canvas.dataset.frame) < last; left--) {
      await new Promise(done => requestAnimationFrame(done));
      const { data } = context.getImageData(0, y, canvas.width, 1);
      const number = columns.reduce((sum, at, bit) => sum + (data[at] > 128 ? 2 ** bit : 0), 0);
      seen.push([Number(canvas.dataset.frame), number]);
    }
    return seen;
}"""


@pytest.mark.parametrize(
    "name", [slow("constant.mp4"), "variable.mp4", slow("constant.webm"), slow("images")]
)
def test_every_frame_shown_while_playing_bears_its_number(
    window: Any, server: Any, films: Path, name: str
) -> None:
    person = opened(window, server, films / name)
    box = window.locator("#stage").bounding_box()
    places = [person.place(bit * 32 + 16, 32) for bit in range(8)]
    inside = [(x - box["x"], y - box["y"]) for x, y in places]
    window.locator("#stage").focus()
    seen = window.evaluate(SAMPLES, {"places": inside, "last": FRAMES - 1})
    wrong = [(said, shown) for said, shown in seen if said != shown]
    assert len({said for said, _ in seen}) > 5
    assert not wrong
