"""What a person does with the page, with mouse, keyboard and fingers, on a film with two cuts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.web_page import CUTS, FRAMES, Person, middle, overlap, truth

GREEN = (44.0, 144.0)  # middle of the green square, in every shot
SHOTS = len(CUTS) + 1


def mark(person: Person) -> None:
    """Click the red square on the first frame."""
    person.click(*middle(0))
    person.page.locator(".object-state", has_text="present").wait_for()


def track(person: Person) -> None:
    """Track to the end."""
    person.keys("t")
    person.wait_for("() => document.querySelectorAll('.card:not(.empty)').length === 3")
    person.page.locator('#status:text-is("Saved")').wait_for()


@pytest.fixture(scope="module")
def tracked(context: Any, server: Any, story: Path) -> Iterator[Person]:
    """Somebody who has tracked the red square; tests share the tab, and change no mask."""
    (server.root / "tracked.mp4").write_bytes(story.read_bytes())
    found = Person(context.new_page())
    found.open(server.url, "tracked.mp4")
    mark(found)
    track(found)
    yield found
    found.page.close()


def test_resting_on_an_object_outlines_it_and_a_click_makes_it_object_1(person: Person) -> None:
    with person.page.expect_response(lambda r: r.url.endswith("/preview") and r.ok):
        person.point(*middle(0))
    person.wait_for("() => document.getElementById('stage').dataset.preview === 'true'")
    mark(person)
    assert person.page.locator(".object-name").input_value() == "Object 1"
    assert overlap(person.masks(0)[1], truth(0)) > 0.9


def test_a_box_makes_another_object_and_digits_choose_between_them(person: Person) -> None:
    mark(person)
    person.keys("0", "b")
    with person.page.expect_response(lambda r: r.url.endswith("/edits") and r.ok):
        person.drag((20, 120), (68, 168))
    person.page.locator(".object").nth(1).wait_for()
    assert overlap(person.masks(0)[2], person.masks(0)[1]) == 0
    person.keys("1")
    person.page.locator('.object-choose[aria-label^="1:"][aria-pressed="true"]').wait_for()
    person.keys("2")
    person.page.locator('.object-choose[aria-label^="2:"][aria-pressed="true"]').wait_for()


def test_the_right_button_and_the_key_n_set_negative_clicks(person: Person) -> None:
    mark(person)
    person.click(*GREEN, button="right")
    person.keys("n")
    person.click(GREEN[0] + 4, GREEN[1])
    points = person.api("")["objects"][0]["prompts"][0]["points"]
    assert [label for _, _, label in points] == [1, 0, 0]


def test_clicks_reach_the_pixel_under_the_pointer_after_zoom_and_pan(person: Person) -> None:
    x, y = person.place(*middle(0))
    person.page.mouse.move(x, y)
    person.page.mouse.wheel(0, -300)
    with person.page.expect_response(lambda r: r.url.endswith("/edits") and r.ok):
        person.page.mouse.click(x, y)
    point = person.api("")["objects"][0]["prompts"][0]["points"][0]
    assert point[:2] == pytest.approx(middle(0), abs=1.0)


def test_brush_and_eraser_change_the_mask_under_them(person: Person) -> None:
    mark(person)
    before = person.masks(0)[1]
    person.keys("m")
    with person.page.expect_response(lambda r: "/masks/0?" in r.url and r.request.method == "PUT"):
        person.drag((150, 150), (220, 150))
    painted = person.masks(0)[1]
    assert painted[150, 180]
    assert (painted & before).sum() == before.sum()
    person.keys("e")
    with person.page.expect_response(lambda r: "/masks/0?" in r.url and r.request.method == "PUT"):
        person.drag((150, 150), (190, 150))
    erased = person.masks(0)[1]
    assert not erased[150, 160]
    assert erased[150, 218]


def test_undo_takes_back_and_redo_brings_back(person: Person) -> None:
    mark(person)
    person.keys("Control+z")
    person.page.locator('[data-command="redo"]:enabled').wait_for()
    assert not any(each["prompts"] for each in person.api("")["objects"])
    person.keys("Control+Shift+Z")
    person.page.locator('[data-command="redo"]:disabled').wait_for()
    assert len(person.api("")["objects"][0]["prompts"]) == 1


def test_tracking_fills_the_frames_and_playing_shows_them(tracked: Person) -> None:
    person = tracked
    states = person.api("")["objects"][0]["states"]
    assert states[-1][1] == FRAMES - 1
    assert overlap(person.masks(50)[1], truth(50)) > 0.8
    person.keys("Home", "Space")
    person.wait_for("() => Number(document.getElementById('stage').dataset.frame) > 3")
    person.keys("Space")
    assert person.frame > 3


def test_the_shot_strip_says_where_the_object_is_absent(tracked: Person) -> None:
    person = tracked
    person.page.locator("#shots-order").click()  # in the order of the film
    texts = person.cards()
    assert len(texts) == SHOTS
    assert [text.rstrip("?") for text in texts] == ["present", "absent", "present"]


def test_enter_confirms_a_shot_and_x_denies_another(person: Person) -> None:
    mark(person)
    track(person)
    person.keys("Home", "Enter")
    person.page.locator('.card.confirmed[data-first="0"]').wait_for()
    person.page.locator('.card[data-first="40"] .card-picture').click()
    person.wait_for("() => Number(document.getElementById('stage').dataset.frame) >= 40")
    person.keys("x")
    person.page.locator('.card.denied[data-first="40"]').wait_for()
    verdicts = person.api("")["objects"][0]["verdicts"]
    assert {(each["from"], each["verdict"]) for each in verdicts} == {
        (0, "confirmed"),
        (40, "denied"),
    }


def test_a_correction_tracks_again_only_what_comes_after_it(person: Person) -> None:
    mark(person)
    track(person)
    person.page.locator('.card[data-first="40"] .card-picture').click()
    person.wait_for("() => Number(document.getElementById('stage').dataset.frame) >= 40")
    frame = person.frame
    person.click(*middle(frame))
    person.wait_for(
        "async frame => { const { objects } = await (await fetch(`/api/v1/projects/${new"
        " URLSearchParams(location.hash.slice(1)).get('p')}`)).json();"
        " return objects[0].prompts.some(prompt => prompt.frame === frame); }",
        frame,
    )
    states = person.api("")["objects"][0]["states"]
    again = [(a, b) for a, b, state in states if state == "stale"]
    assert all(a > frame for a, _ in again)


def test_the_arrow_keys_go_to_frames_and_cuts(tracked: Person) -> None:
    person = tracked
    for key, frame in [
        ("End", FRAMES - 1),
        ("Home", 0),
        ("ArrowRight", 1),
        (".", 2),
        ("Shift+ArrowRight", 12),
        (",", 11),
        ("Alt+ArrowRight", CUTS[0]),
        ("Alt+ArrowRight", CUTS[1]),
        ("Alt+ArrowLeft", CUTS[0]),
    ]:
        person.keys(key)
        person.wait_for_frame(frame)


def test_a_locked_frame_is_marked_and_can_be_unlocked(person: Person) -> None:
    mark(person)
    person.keys("l")
    person.page.locator('[data-command="lock"][aria-pressed="true"]').wait_for()
    assert person.api("")["objects"][0]["locked"] == [[0, 0]]
    person.keys("l")
    person.page.locator('[data-command="lock"][aria-pressed="false"]').wait_for()


def test_everything_is_there_after_the_tab_was_closed(tracked: Person) -> None:
    person = tracked
    person.keys("End")
    person.wait_for_frame(FRAMES - 1)
    person.page.wait_for_url(f"**f={FRAMES - 1}")
    address = person.page.url
    person.page.goto("about:blank")
    person.page.goto(address)
    person.wait_for_frame(FRAMES - 1)
    person.page.locator(".object-state", has_text="present").wait_for()
    person.wait_for("() => document.querySelectorAll('.card:not(.empty)').length === 3")


def test_an_export_is_written_and_can_be_downloaded(tracked: Person) -> None:
    person = tracked
    person.keys("s")
    person.page.get_by_role("button", name="Save").click()
    link = person.page.locator(".files a").first
    link.wait_for()
    with person.page.expect_download() as download:
        link.click()
    assert Path(download.value.path()).stat().st_size > 0
    person.keys("Escape")


def test_a_new_object_needs_a_positive_click_first(person: Person) -> None:
    person.page.mouse.click(*person.place(*middle(0)), button="right")
    toast = person.page.locator(".toast")
    toast.wait_for()
    assert "positive click" in toast.inner_text()
    assert person.api("")["objects"] == []


def test_names_of_objects_are_shown_as_text(person: Person) -> None:
    mark(person)
    name = person.page.locator(".object-name")
    name.fill("<img src=x onerror=alert(1)>")
    name.press("Enter")
    person.page.locator(".head-lane", has_text="<img src=x").wait_for()
    assert person.page.locator("#app img").count() == 0


def test_the_whole_story_by_the_keyboard_alone(window: Any, server: Any, film: Path) -> None:
    person = Person(window)
    window.goto(server.url)
    window.get_by_role("button", name=film.name).last.wait_for()
    person.tab_to(".entry", film.name)
    person.keys("Enter")
    person.wait_for_frame(0)
    person.keys("p")
    steer(person, middle(0))
    with window.expect_response(lambda r: r.url.endswith("/edits") and r.ok):
        person.keys("Enter")
    person.keys("Escape")
    window.locator(".object-state", has_text="present").wait_for()
    track(person)
    person.tab_to("[data-card]")
    first = window.evaluate("document.activeElement.dataset.card")
    person.keys("Enter")
    window.locator(f'.card.confirmed[data-first="{first}"]').wait_for()
    person.keys("s")
    window.get_by_role("dialog").wait_for()
    person.tab_to("button", "Save")
    person.keys("Enter")
    window.locator(".files a").first.wait_for()
    person.keys("Escape")
    window.get_by_role("dialog").wait_for(state="hidden")
    person.keys("?")
    window.get_by_role("heading", name="Keys").wait_for()


def steer(person: Person, target: tuple[float, float]) -> None:
    """Move the pointer of the keyboard from the middle of the stage near a pixel of the video."""
    box = person.page.locator("#stage").bounding_box()
    x, y = person.place(*target)
    right, down = x - box["x"] - box["width"] / 2, y - box["y"] - box["height"] / 2
    person.keys(*["ArrowRight" if right > 0 else "ArrowLeft"] * round(abs(right) / 16))
    person.keys(*["ArrowDown" if down > 0 else "ArrowUp"] * round(abs(down) / 16))


def test_a_finger_marks_and_two_fingers_zoom(browser: Any, server: Any, film: Path) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(server.url)
    page.get_by_role("button", name=film.name).last.tap()
    person = Person(page)
    person.wait_for_frame(0)
    with page.expect_response(lambda r: r.url.endswith("/edits") and r.ok):
        page.touchscreen.tap(*person.place(*middle(0)))
    page.locator(".object-state", has_text="present").wait_for()
    (x, y), tools = person.place(160, 90), context.new_cdp_session(page)
    for kind, apart in [("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", 0)]:
        fingers = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        points = [] if kind == "touchEnd" else fingers
        tools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert len(person.api("")["objects"][0]["prompts"][0]["points"]) == 1
    small = page.evaluate(
        "[...document.querySelectorAll('.rail button, .transport button, .topbar button')]"
        ".filter(b => b.offsetParent && Math.min(b.offsetWidth, b.offsetHeight) < 44)"
        ".map(b => b.dataset.command ?? b.id)"
    )
    assert small == []
    context.close()
