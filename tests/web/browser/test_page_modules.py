"""Modules of the page that need no server, run in the browser."""

from typing import Any

import numpy as np
import pytest

HEIGHT, WIDTH = 23, 31


@pytest.fixture
def empty(window: Any, modules: str) -> Any:
    """A tab that can import the modules of the page."""
    window.goto(f"{modules}/favicon.svg")
    return window


def run(window: Any, module: str, body: str, argument: object = None) -> Any:
    """Run JavaScript with a module as `m` and an argument as `a`."""
    return window.evaluate(
        f"async a => {{ const m = await import('/{module}'); {body} }}", argument
    )


def blobs(seed: int) -> list[int]:
    """A bitmap with ragged regions, holes and pixels at the border."""
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH))
    return [int(value) for value in (noise > 0.6).ravel()]


def test_run_lengths_are_written_as_leb128(empty: Any) -> None:
    assert run(empty, "masks.js", "return [...m.encodeRuns(a)]", [0, 300, 127, 128]) == [
        *(0x00,),
        *(0xAC, 0x02),
        *(0x7F,),
        *(0x80, 0x01),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_bitmap_is_the_same_after_it_was_written_and_read(empty: Any, seed: int) -> None:
    bitmap = blobs(seed)
    body = """
        const runs = m.encodeRuns(m.runsOf(Uint8Array.from(a.bitmap)));
        const bytes = new Uint8Array(2 * (5 + runs.length)), view = new DataView(bytes.buffer);
        for (const [place, id] of [[0, 3], [5 + runs.length, 200]]) {
          view.setUint8(place, id);
          view.setFloat32(place + 1, 0.75, true);
          bytes.set(runs, place + 5);
        }
        return m.decodeMasks(bytes.buffer, a.width, a.height).map(mask => ({
          id: mask.id, score: mask.score, area: m.areaOf(mask), bitmap: [...m.bitmapOf(mask)],
          covered: a.bitmap.every((value, i) =>
            m.covers(mask, i % a.width, Math.floor(i / a.width)) === (value === 1)),
        }));
    """
    masks = run(empty, "masks.js", body, {"bitmap": bitmap, "width": WIDTH, "height": HEIGHT})
    assert [mask["id"] for mask in masks] == [3, 200]
    for mask in masks:
        assert mask["bitmap"] == bitmap
        assert mask["score"] == 0.75
        assert mask["area"] == sum(bitmap)
        assert mask["covered"]


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_has_the_middles_of_the_pixels_inside_and_no_others(
    empty: Any, seed: int
) -> None:
    bitmap = blobs(seed)
    body = """
        const runs = m.runsOf(Uint8Array.from(a.bitmap));
        const outline = m.outlineOf({ id: 1, score: 1, width: a.width, height: a.height, runs });
        const context = new OffscreenCanvas(8, 8).getContext('2d');
        const inside = i => context.isPointInPath(
          outline, i % a.width + 0.5, Math.floor(i / a.width) + 0.5, 'evenodd');
        return a.bitmap.map((_, i) => inside(i) ? 1 : 0);
    """
    assert (
        run(empty, "masks.js", body, {"bitmap": bitmap, "width": WIDTH, "height": HEIGHT}) == bitmap
    )


def test_a_mask_with_more_pixels_than_the_frame_is_refused(empty: Any) -> None:
    body = """
        const bytes = Uint8Array.from([1, 0, 0, 0, 0, 200, 1]);
        try { m.decodeMasks(bytes.buffer, 4, 4); } catch (error) { return error.message; }
    """
    assert run(empty, "masks.js", body) == "a mask has more pixels than the frame"


TIMES = [0.08, 0.12, 0.2, 0.21, 0.5, 0.54]  # intervals of a variable frame rate


def test_a_time_belongs_to_the_nearest_frame(empty: Any) -> None:
    body = """
        const table = new m.FrameTable();
        table.set(0, Float64Array.from(a.slice(0, 3)));
        table.set(3, Float64Array.from(a.slice(3)));
        return [a.map(t => table.indexAt(t)), a.map((_, i) => table.indexAt(a[i] + 0.004)),
                table.indexAt(-1), table.indexAt(99)];
    """
    exact, later, before, after = run(empty, "clock.js", body, TIMES)
    assert exact == later == list(range(len(TIMES)))
    assert (before, after) == (0, len(TIMES) - 1)


def test_a_seek_goes_to_the_middle_of_the_interval_of_a_frame(empty: Any) -> None:
    body = """
        const table = new m.FrameTable();
        table.set(0, Float64Array.from(a));
        return a.map((_, i) => table.middle(i));
    """
    found = run(empty, "clock.js", body, TIMES)
    ends = [*TIMES[1:], TIMES[-1] + TIMES[-1] - TIMES[-2]]
    assert found == pytest.approx([(t + end) / 2 for t, end in zip(TIMES, ends, strict=True)])


def test_of_the_previews_that_wait_only_the_newest_is_asked_for(empty: Any) -> None:
    body = """
        const asked = [], finish = [];
        const newest = new m.NewestOnly(number => {
          asked.push(number);
          return new Promise(done => finish.push(() => done(number)));
        });
        const results = [1, 2, 3, 4].map(number => newest.ask(number));
        finish[0]();
        await results[0];
        await new Promise(done => setTimeout(done, 5));
        finish[1]();
        return { asked, results: await Promise.all(results) };
    """
    found = run(empty, "tools.js", body)
    assert found["asked"] == [1, 4]
    assert found["results"] == [1, None, None, 4]


def test_a_key_moves_from_one_command_to_another_and_back(empty: Any) -> None:
    body = """
        const keys = new m.Keys();
        keys.set('brush', 'T');
        const moved = [new m.Keys().find('T'), new m.Keys().keyFor('track')];
        keys.reset();
        return [...moved, keys.find('T')];
    """
    assert run(empty, "keys.js", body) == ["brush", None, "track"]


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ({"key": "z", "ctrlKey": True, "shiftKey": True}, "Ctrl+Shift+Z"),
        ({"key": "z", "metaKey": True}, "Ctrl+Z"),
        ({"key": " "}, "Space"),
        ({"key": "?", "shiftKey": True}, "?"),
        ({"key": "ArrowLeft", "altKey": True}, "Alt+ArrowLeft"),
    ],
)
def test_keys_have_a_name_with_their_modifiers(empty: Any, event: dict[str, Any], key: str) -> None:
    body = "return m.keyOf(new KeyboardEvent('keydown', a))"
    assert run(empty, "keys.js", body, event) == key


def test_every_command_of_a_button_has_a_key_except_the_sound(empty: Any) -> None:
    body = """
        const text = await (await fetch('/index.html')).text();
        const page = new DOMParser().parseFromString(text, 'text/html');
        const known = new Set(new m.Keys().commands.map(command => command.id)), more = ['sound'];
        return [...page.querySelectorAll('[data-command]')].map(b => b.dataset.command)
          .filter(id => !known.has(id) && !more.includes(id));
    """
    assert run(empty, "keys.js", body) == []
