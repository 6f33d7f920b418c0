"""Track one object from a box, and count its pixels in every frame.

python examples/track_video.py VIDEO x0,y0,x1,y1
"""

import sys

import segment_concept as sc


def main(path: str, corners: str) -> None:
    session = sc.load("sec_compact").session()
    box = sc.Box(*(float(c) for c in corners.split(",")))
    frames = sc.open_video(path).frames()
    for result in session.track(frames, {0: {1: box}}, prefetch=2):
        print(
            f"frame {result.frame_index}: {result.mask(1).sum()} pixels, "
            f"presence {result.presence[0]:.2f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:3])
