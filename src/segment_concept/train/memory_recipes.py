"""The recipes of stage 1, and the task that a command line describes.

`memory` is that of SeC's release, `memory_paper` that of its paper where they differ, and
`memory_ordered` has clips in order with one cut, for comparison.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.checkpoints.sam2.stretch import stretch_slots
from segment_concept.datasets.sav import (
    SavVideo,
    chosen,
    find_videos,
    is_held_out,
    read_video_list,
)
from segment_concept.train.memory_data import ClipConfig
from segment_concept.train.memory_task import MemoryRecipe, MemoryTask, published_schedule
from segment_concept.train.memory_validation import VIDEOS, HeldOutClips
from segment_concept.types import InputError

log = logging.getLogger(__name__)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        MemoryRecipe("memory"),
        MemoryRecipe("memory_ordered", ClipConfig(order="in order")),
        # 40 epochs of 2,000 videos in batches of 64 (SeC, section 4); one clip of a video an epoch
        MemoryRecipe(
            "memory_paper", ClipConfig(frames=24, repeats=1), 64, published_schedule(1250)
        ),
    )
}


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A training of stage 1 as its command line describes it.

    Attributes:
        data: folder of SA-V's training videos.
        weights: SAM 2.1, a file, a folder or a repository of the hub.
        frames: folder of extracted frames; None to decode videos.
        videos: file of names of videos; None for all in `data`.
        recipe: one of `RECIPES`.
        steps, batch, seed: instead of the recipe's.
        limit: number of videos; 0 for all.
        all_videos: train on held-out videos too, without validation.
        validated: held-out videos of a validation.
        recompute: compute the memory attention again in the backward pass.
    """

    data: Path
    weights: str
    frames: Path | None = None
    videos: Path | None = None
    recipe: str = "memory"
    steps: int | None = None
    batch: int | None = None
    seed: int | None = None
    limit: int = 0
    all_videos: bool = False
    validated: int = VIDEOS
    recompute: bool = False

    def check(self) -> None:
        """Raise InputError for values that cannot be used."""
        if self.recipe not in RECIPES:
            raise InputError(
                f"no recipe {self.recipe!r} of stage 1: there are {', '.join(RECIPES)}"
            )
        for name in ("steps", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name} {value}: must be at least 1")
        if self.limit < 0 or (self.seed is not None and self.seed < 0):
            raise InputError("--limit and --seed must be at least 0")

    def chosen_recipe(self) -> MemoryRecipe:
        """The recipe with the plan's numbers."""
        recipe = RECIPES[self.recipe]
        steps = recipe.schedule.steps if self.steps is None else self.steps
        return replace(
            recipe,
            batch=recipe.batch if self.batch is None else self.batch,
            seed=recipe.seed if self.seed is None else self.seed,
            schedule=published_schedule(steps),
        )


def build_memory_task(plan: MemoryPlan) -> MemoryTask:
    """Load the network and find the videos of a training.

    Raises:
        InputError: an option or the data cannot be used.
        CheckpointError: the weights cannot be used.
    """
    plan.check()
    recipe = plan.chosen_recipe()
    everything = find_videos(plan.data, plan.frames)
    listed = _listed(plan, everything)
    held_out = [] if plan.all_videos else [v for v in everything.values() if is_held_out(v.name)]
    taught = [video for video in listed if plan.all_videos or not is_held_out(video.name)]
    if not taught:
        raise InputError(f"all {len(listed)} videos are held out for validation: give more videos")
    if len(taught) < len(listed):
        log.info("%d of %d videos are held out", len(listed) - len(taught), len(listed))
    network = load_sam2(plan.weights).network
    stretch_slots(network, recipe.slots)
    side = network.sizes.image_side
    clips = HeldOutClips(held_out, recipe.clip, side, plan.validated) if held_out else None
    if clips is None:
        log.warning("no video is held out: there is no validation")
    return MemoryTask(recipe, network, taught, clips, plan.weights, recompute=plan.recompute)


def _listed(plan: MemoryPlan, videos: Mapping[str, SavVideo]) -> Sequence[SavVideo]:
    if plan.videos is None:
        listed = list(videos.values())
    else:
        listed = chosen(videos, read_video_list(plan.videos), plan.videos)
    return listed[: plan.limit] if plan.limit else listed
