"""The page as a person uses it: a browser tab, and where things are on it."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.video_toys import ColorSession, ColorTracker, Film, write_film
from segment_concept.tracking.api import NO_FRAME_PROMPTS, FramePrompts
from segment_concept.types import Bitmap, Frame, FrameResult, ObjectId

HEIGHT, WIDTH, SIDE = 180, 320, 48
FRAMES, CUTS = 60, (20, 40)
RED, GREEN = (220, 30, 30), (30, 200, 60)
_MARGIN = 16  # free pixels around the frame on the stage
_BACKGROUNDS = ((70, 70, 70), (30, 60, 150), (190, 180, 140))  # of the shots


def red_at(index: int) -> tuple[int, int] | None:
    """Corner (x, y) of the red square; in the second shot there is none."""
    if CUTS[0] <= index < CUTS[1]:
        return None
    return (40 + 2 * (index % 20), 30) if index < CUTS[0] else (200 - 2 * (index % 20), 90)


def middle(index: int) -> tuple[float, float]:
    """Middle of the red square."""
    place = red_at(index)
    assert place is not None, "there is no red square in this shot"
    return place[0] + SIDE / 2, place[1] + SIDE / 2


def truth(index: int) -> Bitmap:
    """(H, W) where the red square is."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    place = red_at(index)
    if place is not None:
        x, y = place
        mask[y : y + SIDE, x : x + SIDE] = True
    return mask


def picture(index: int) -> NDArray[np.uint8]:
    """Three shots of different colors with a red square that moves and a green one at rest."""
    shot = sum(index >= cut for cut in CUTS)
    rgb = np.full((HEIGHT, WIDTH, 3), _BACKGROUNDS[shot], np.uint8)
    rgb[120:168, 20:68] = GREEN
    rgb[truth(index)] = RED
    return rgb


def write_story(path: Path) -> Path:
    """60 frames with two cuts, H.264."""
    return write_film(path, Film(frames=FRAMES, gop=12), picture)


@dataclass(slots=True, eq=False)
class StorySession(ColorSession):
    """Follows colors, and finds the cuts of the story by the color of its corner."""

    corner: NDArray[np.int64] | None = None

    def _see(self, frame: Frame, ids: tuple[ObjectId, ...]) -> FrameResult:
        before, self.corner = self.corner, frame.rgb[0, 0].astype(np.int64)
        cut = before is not None and bool(np.abs(before - self.corner).max() > 50)
        return replace(ColorSession._see(self, frame, ids), cut=cut)


class StoryTracker(ColorTracker):
    """The tracker of the tests of the page."""

    def session(self) -> StorySession:
        return StorySession(self)


@dataclass(slots=True, eq=False)
class SlowStorySession(StorySession):
    """Of `SlowStoryTracker`."""

    def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
        time.sleep(0.1)
        return StorySession.step(self, frame, prompts)


class SlowStoryTracker(ColorTracker):
    """Needs six seconds for the story, in which a person can do something."""

    def session(self) -> SlowStorySession:
        return SlowStorySession(self)


BITS = 8  # squares of a frame of `pattern`, each a bit of its index


def pattern(index: int) -> NDArray[np.uint8]:
    """A frame whose index can be read from its pixels: white squares are ones."""
    rgb = np.full((64, 256, 3), 40, np.uint8)
    for bit in range(BITS):
        if index >> bit & 1:
            rgb[16:48, bit * 32 + 4 : bit * 32 + 28] = 235
    return rgb


@dataclass
class Person:
    """Somebody at the page."""

    page: Any
    size: tuple[int, int] = (HEIGHT, WIDTH)

    def open(self, address: str, film: str) -> None:
        """Open the page, choose a film of the folder, and wait until the tracker is ready."""
        self.page.goto(address)
        self.page.get_by_role("button", name=film).last.click()
        self.wait_until_ready(0)

    def wait_until_ready(self, index: int) -> None:
        """Wait until a frame is on the stage and the tracker can be used."""
        self.wait_for_frame(index)
        self.page.locator('#status:text-is("Saved")').wait_for()

    @property
    def frame(self) -> int:
        """The frame on the stage."""
        return int(self.page.get_attribute("#stage", "data-frame") or -1)

    def wait_for_frame(self, index: int) -> None:
        """Wait until a frame is on the stage."""
        self.page.wait_for_selector(f'#stage[data-frame="{index}"]')

    def wait_for(self, script: str, argument: object = None) -> None:
        """Wait until a JavaScript function returns true."""
        self.page.wait_for_function(script, arg=argument)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the video is on the screen."""
        height, width = self.size
        box = self.page.locator("#stage").bounding_box()
        margin = 0 if box["width"] < 500 else _MARGIN
        scale = min((box["width"] - 2 * margin) / width, (box["height"] - 2 * margin) / height)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + x * scale, top + y * scale

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a pixel of the video."""
        self.page.mouse.move(*self.place(x, y))

    def click(self, x: float, y: float, button: str = "left") -> None:
        """Click a pixel of the video, and wait until the page shows the edit."""
        with self.page.expect_response(lambda r: r.url.endswith("/edits") and r.ok) as reply:
            self.page.mouse.click(*self.place(x, y), button=button)
        self.page.wait_for_function(
            "rev => Number(document.body.dataset.rev) >= rev", arg=reply.value.json()["rev"]
        )

    def drag(self, *corners: tuple[float, float]) -> None:
        """Press on the first pixel of the video, and lift on the last."""
        self.point(*corners[0])
        self.page.mouse.down()
        for corner in corners[1:]:
            self.page.mouse.move(*self.place(*corner), steps=4)
        self.page.mouse.up()

    def keys(self, *names: str) -> None:
        """Press keys one after another."""
        for name in names:
            self.page.keyboard.press(name)

    def tab_to(self, selector: str, text: str = "") -> None:
        """Press Tab until a control has the focus."""
        script = "([selector, text]) => document.activeElement.matches(selector)"
        script += " && (document.activeElement.innerText ?? '').includes(text)"
        for _ in range(200):
            if self.page.evaluate(script, [selector, text]):
                return
            self.keys("Tab")
        raise AssertionError(f"Tab does not reach {selector} {text}")

    def api(self, path: str) -> Any:
        """The reply of the server to a GET of the project."""
        call = "async path => (await fetch(`/api/v1/projects/${new URLSearchParams(location.hash"
        call += ".slice(1)).get('p')}${path}`)).json()"
        return self.page.evaluate(call, path)

    def masks(self, index: int) -> dict[int, Bitmap]:
        """Masks that the server has of a frame, by object."""
        script = """async ({ index, height, width }) => {
            const { decodeMasks, bitmapOf } = await import('/masks.js');
            const id = new URLSearchParams(location.hash.slice(1)).get('p');
            const reply = await fetch(`/api/v1/projects/${id}/masks/${index}`);
            if (!reply.ok) throw new Error(await reply.text());
            return decodeMasks(await reply.arrayBuffer(), width, height)
              .map(mask => [mask.id, [...bitmapOf(mask)]]);
        }"""
        height, width = self.size
        found = self.page.evaluate(script, {"index": index, "height": height, "width": width})
        return {i: np.array(pixels, np.bool_).reshape(height, width) for i, pixels in found}

    def colors(self, *pixels: tuple[float, float]) -> list[list[int]]:
        """RGB of pixels of the video, as the stage shows them."""
        box = self.page.locator("#stage").bounding_box()
        places = [self.place(x, y) for x, y in pixels]
        inside = [(x - box["x"], y - box["y"]) for x, y in places]
        script = """places => {
            const canvas = document.getElementById("stage");
            const ratio = canvas.width / canvas.clientWidth;
            const context = canvas.getContext('2d');
            return places.map(([x, y]) => [...context.getImageData(x * ratio, y * ratio, 1, 1).data]
              .slice(0, 3));
        }"""
        found: list[list[int]] = self.page.evaluate(script, inside)
        return found

    def number(self) -> int:
        """The index that a frame of `pattern` on the stage bears."""
        bits = self.colors(*[(bit * 32 + 16, 32) for bit in range(BITS)])
        return sum(int(rgb[0] > 128) << bit for bit, rgb in enumerate(bits))

    def cards(self) -> list[str]:
        """Texts of the cards of the shot strip, in their order."""
        texts: list[str] = self.page.locator(".card .card-state").all_text_contents()
        return texts


def overlap(a: Bitmap, b: Bitmap) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max(1, (a | b).sum()))
