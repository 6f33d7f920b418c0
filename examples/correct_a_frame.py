"""Track an object from one click, and correct a later frame with another click.

python examples/correct_a_frame.py VIDEO x,y FRAME x,y
"""

import sys

import segment_concept as sc


def point(text: str) -> tuple[float, float]:
    x, y = text.split(",")
    return float(x), float(y)


def main(path: str, click: str, frame_index: str, correction: str) -> None:
    session = sc.load("sec_compact").session()
    first = {1: sc.Points.on(point(click))}
    for frame in sc.open_video(path).frames():
        result = session.step(frame, first if frame.index == 0 else {})
        if frame.index == int(frame_index):
            before = result.mask(1)
            after = session.prompt(frame, {1: sc.Points.on(point(correction))}).mask(1)
            print(f"frame {frame.index}: the click changed {(before ^ after).sum()} pixels")
    print("the frames after it are tracked from the corrected mask")


if __name__ == "__main__":
    main(*sys.argv[1:5])
