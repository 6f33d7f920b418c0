"""Write a memory policy of your own: remember only the prompt and the single best frame so far.

python examples/own_memory_policy.py VIDEO x0,y0,x1,y1
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import segment_concept as sc


@dataclass(frozen=True, slots=True)
class BestFrame:
    """The prompted frames, and the tracked frame whose mask was predicted to be best."""

    def recall(self, bank: sc.MemoryBank, position: sc.PlaybackPosition) -> sc.Recall:
        maps = [sc.RecalledMap(6, m, prompted=True) for m in bank.prompted]
        pointers = [sc.RecalledPointer(m.age(position.frame_index), m) for m in bank.prompted]
        for memory in bank.tracked:
            maps.append(sc.RecalledMap(0, memory))
            pointers.append(sc.RecalledPointer(1, memory))
        return sc.Recall(tuple(maps), tuple(pointers))

    def choose(
        self, tracks: Sequence[sc.Track], candidates: Sequence[sc.Candidate]
    ) -> list[sc.Candidate]:
        return [sc.policies.best_iou(candidates)]

    def forget(self, bank: sc.MemoryBank, position: sc.PlaybackPosition) -> sc.MemoryBank:
        best = max(bank.tracked, key=lambda m: m.iou)
        return replace(bank, tracked=(best,))


def main(path: str, corners: str) -> None:
    tracker = sc.load("sec_compact", policy=BestFrame())
    session = tracker.session()
    frames = sc.open_video(path).frames()
    session.prompt(next(frames), {1: sc.Box(*(float(c) for c in corners.split(",")))})
    for result in session.track(frames):
        print(f"frame {result.frame_index}: predicted IoU {result.quality[0]:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
