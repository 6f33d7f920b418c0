"""Follow one object, shown by a box, and count its pixels in every frame.

python examples/track_video.py VIDEO x0,y0,x1,y1
"""

import sys

import segment_concept as sc


def main(path: str, corners: str) -> None:
    tracker = sc.load("sec_compact")
    session = tracker.session()
    frames = sc.open_video(path).frames()
    first = next(frames)
    box = sc.Box(*(float(c) for c in corners.split(",")))
    print(f"frame 0: {session.prompt(first, {1: box}).mask(1).sum()} pixels")
    for result in session.track(frames):
        print(
            f"frame {result.frame_index}: {result.mask(1).sum()} pixels, "
            f"presence {result.presence[0]:.2f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:3])
