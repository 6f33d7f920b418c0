"""Prepare photographs of the same subjects in several places, to which the verifier is fitted.

    python tools/prepare_subject_photos.py SOURCE OUT

SOURCE has images/SUBJECT__NN.jpg: the photographs of github.com/google/dreambooth at commit
4f887af7970a06fc0cd3adaa1d0b368547d6a1d0 (CC BY 4.0; by its authors, or from Unsplash under its
license). OUT gets the middle of each photograph as a square of 640 pixels, and the mask that the
bundled model makes of it from a box around the middle, as KIND__SUBJECT__NN.jpg and .png. The masks
were looked at with the weights of SHA-256 2a384936b393; photographs with a wrong one are left out.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import segment_concept as sc

SIDE = 640
BOX = sc.Box(70, 70, 570, 590)  # pixels; the subjects are near the middle

KINDS = {
    "animal": "dog dog2 dog3 dog5 dog6 dog7 dog8 cat cat2",
    "toy": "bear_plushie grey_sloth_plushie wolf_plushie monster_toy robot_toy red_cartoon "
    "duck_toy poop_emoji rc_car",
    "worn": "colorful_sneaker shiny_sneaker fancy_boot backpack backpack_dog",
    "thing": "can candle clock teapot vase berry_bowl pink_sunglasses",
}
WRONG = [
    "can__02",
    "can__03",
    "candle__00",
    "teapot__01",
    "teapot__03",
    "berry_bowl__03",
    "berry_bowl__05",
    "clock__00",
    "clock__01",
    "vase__02",
    "vase__03",
    "vase__04",
    "pink_sunglasses__02",
    "pink_sunglasses__04",
    "pink_sunglasses__05",
    "dog3__04",
    "dog5__00",
    "dog5__02",
    "dog5__03",
    "shiny_sneaker__04",
]


def prepare(source: Path, out: Path) -> int:
    """Write OUT. Returns the number of photographs.

    Raises:
        SystemExit: a subject has no photographs.
    """
    tracker = sc.load("sec_compact")
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for kind, subjects in KINDS.items():
        for subject in subjects.split():
            pictures = sorted((source / "images").glob(f"{subject}__*.jpg"))
            if not pictures:
                sys.exit(f"there are no photographs {source}/images/{subject}__*.jpg: fetch them")
            for picture in pictures:
                if picture.stem not in WRONG:
                    write_photo(tracker, picture, out / f"{kind}__{picture.stem}")
                    count += 1
    return count


def write_photo(tracker: sc.Tracker, picture: Path, target: Path) -> None:
    """Write the square and its mask."""
    with Image.open(picture) as opened:
        side = min(opened.size)
        left, top = (opened.width - side) // 2, (opened.height - side) // 2
        square = opened.convert("RGB").crop((left, top, left + side, top + side))
        square = square.resize((SIDE, SIDE), Image.Resampling.BOX)
    session = tracker.session()
    shown = session.preview(sc.Frame(0, np.array(square)), {sc.ObjectId(1): BOX}, refine=True)
    square.save(target.with_suffix(".jpg"), quality=95)
    mask = shown.mask(sc.ObjectId(1)).astype(np.uint8) * 255
    Image.fromarray(mask).save(target.with_suffix(".png"))


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python tools/prepare_subject_photos.py SOURCE OUT")
    print(f"{prepare(Path(sys.argv[1]), Path(sys.argv[2]))} photographs")


if __name__ == "__main__":
    main()
