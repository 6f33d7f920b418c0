"""Follow an object shown by one click, and mend a frame on which it went wrong with another.

python examples/correct_a_frame.py VIDEO x,y FRAME x,y
"""

import sys

import segment_concept as sc


def point(text: str) -> tuple[float, float]:
    x, y = text.split(",")
    return float(x), float(y)


def main(path: str, click: str, frame_index: str, correction: str) -> None:
    session = sc.load("sec_compact").session()
    for frame in sc.open_video(path).frames():
        if frame.index == 0:
            session.prompt(frame, {1: sc.Points.on(point(click))})
            continue
        result = session.step(frame)
        if frame.index == int(frame_index):
            before = result.mask(1)
            after = session.prompt(frame, {1: sc.Points.on(point(correction))}).mask(1)
            print(f"frame {frame.index}: the click changed {(before ^ after).sum()} pixels")
    print("what follows is tracked from the corrected frame on")


if __name__ == "__main__":
    main(*sys.argv[1:5])
