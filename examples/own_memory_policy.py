"""Write a memory policy of your own: remember only the prompt and the single best frame so far.

python examples/own_memory_policy.py VIDEO x0,y0,x1,y1
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import segment_concept as sc
from segment_concept.recipes import find_recipe
from segment_concept.tracking.memory import (
    MemoryBank,
    PlaybackPosition,
    Recall,
    RecalledMap,
    RecalledPointer,
    Track,
)
from segment_concept.tracking.policies.base import Candidate, best_iou


@dataclass(frozen=True, slots=True)
class BestFrame:
    """The prompted frames, and the tracked frame whose mask was predicted to be best."""

    def recall(self, bank: MemoryBank, moment: PlaybackPosition) -> Recall:
        maps = [RecalledMap(6, m, prompted=True) for m in bank.prompted]
        pointers = [RecalledPointer(m.age(moment.frame_index), m) for m in bank.prompted]
        for memory in bank.tracked:
            maps.append(RecalledMap(0, memory))
            pointers.append(RecalledPointer(1, memory))
        return Recall(tuple(maps), tuple(pointers))

    def choose(self, tracks: Sequence[Track], candidates: Sequence[Candidate]) -> list[Candidate]:
        return [best_iou(candidates)]

    def forget(self, bank: MemoryBank, moment: PlaybackPosition) -> MemoryBank:
        best = max(bank.tracked, key=lambda m: m.iou)
        return replace(bank, tracked=(best,))


def main(path: str, corners: str) -> None:
    tracker = sc.load(replace(find_recipe("sec_compact"), policy=BestFrame()))
    session = tracker.session()
    frames = sc.open_video(path).frames()
    session.prompt(next(frames), {1: sc.Box(*(float(c) for c in corners.split(",")))})
    for result in session.track(frames):
        print(f"frame {result.frame_index}: predicted IoU {result.quality[0]:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
