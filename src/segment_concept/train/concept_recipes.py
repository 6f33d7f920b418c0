"""The recipes of stage 2, and the task that a command line describes.

`concept` is SeC's release: adapters, projector, projection at [SEG], all token embeddings and the
language-model head. `concept_lean` trains the embedding of [SEG] alone, without a language-model
loss: it fits a GPU with 24 GB.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from segment_concept.checkpoints.sec.base import BaseModel, open_internvl
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.datasets.masklets import read_masklets
from segment_concept.datasets.sav import SavVideo, find_videos, is_held_out, read_object_list
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import Conversation
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.train.concept_data import (
    QuestionLoader,
    QuestionRequest,
    QuestionSampler,
    SavObject,
)
from segment_concept.train.concept_network import (
    PUBLISHED_ADAPTERS,
    Adapters,
    SecNetworks,
    Trained,
)
from segment_concept.train.concept_questions import AS_PUBLISHED, QuestionRules
from segment_concept.train.concept_segmenter import segmenter_with_concepts
from segment_concept.train.concept_task import ConceptRecipe, ConceptTask
from segment_concept.train.task import Schedule
from segment_concept.types import InputError

log = logging.getLogger(__name__)

RECIPES: Mapping[str, Trained] = {
    "concept": Trained(words=True),
    "concept_lean": Trained(words=False),
}
STEPS, BATCH = 8868, 64  # three epochs of 189,172 objects, 8 GPUs with 8 each
_WARM_UP = 0.05  # share of the steps
FEWEST_ROWS = 3  # visible masks of an object (SeC, section 4: "at least three visible masks")


@dataclass(frozen=True, slots=True)
class ConceptPlan:
    """A training of stage 2 as its command line describes it.

    Args:
        data: folder of SA-V's training videos.
        frames: folder of frames that were extracted from them; None to decode videos.
        base: InternVL2.5, a folder or a repository of the hub.
        segmenter: a run of stage 1, an exported one, or SeC's weights.
        recipe: one of `RECIPES`.
        objects: file of lines `<video> <column>`; None for all manual masklets of `data` with at
            least three visible masks.
        rules: how questions are drawn.
        steps, batch, seed: of the training.
        limit: number of videos; 0 for all.
        questions: held-out questions of a validation.
        all_videos: train on held-out videos too, without a validation.
        adapters: size of the adapters.
        four_bit: keep the frozen language model in 4 bits (needs bitsandbytes and a GPU).
        recompute: compute the language model's layers again in the backward pass.
    """

    data: Path
    base: str
    segmenter: str
    frames: Path | None = None
    recipe: str = "concept"
    objects: Path | None = None
    rules: QuestionRules = AS_PUBLISHED
    steps: int = STEPS
    batch: int = BATCH
    seed: int = 1
    limit: int = 0
    questions: int = 512
    all_videos: bool = False
    adapters: Adapters = PUBLISHED_ADAPTERS
    four_bit: bool = False
    recompute: bool = False

    def check(self) -> None:
        """Raise InputError for values that cannot be used."""
        if self.recipe not in RECIPES:
            raise InputError(
                f"no recipe {self.recipe!r} of stage 2: there are {', '.join(RECIPES)}"
            )
        if self.four_bit and RECIPES[self.recipe].words:
            raise InputError(
                f"recipe {self.recipe} trains all token embeddings, so it gains little from a base "
                "in 4 bits: use --variant lean with --four-bit"
            )
        for name in ("steps", "batch", "questions"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)}: must be at least 1")
        if self.adapters.rank < 1:
            raise InputError(f"--rank {self.adapters.rank}: must be at least 1")
        if self.limit < 0 or self.seed < 0:
            raise InputError("--limit and --seed must be at least 0")
        if not 0 <= self.rules.asked_as_tracked <= 1:
            raise InputError("--asked-as-tracked must be a share from 0 to 1")


def schedule_of(steps: int) -> Schedule:
    """SeC's: AdamW at 4e-5, a warm-up over 5 % of the steps from 1e-5 of it, a cosine to 0."""
    return Schedule(
        steps=steps,
        rate=4e-5,
        last_rate=0.0,
        warm_up=round(_WARM_UP * steps),
        warm_from=1e-5,
        cosine_after_warm_up=True,
        weight_decay=0.05,
        clip=1.0,
        betas=(0.9, 0.999),
        average=None,
    )


def build_task(plan: ConceptPlan, placement: Placement, *, empty: bool = False) -> ConceptTask:
    """Load both networks and find the data of a training.

    Args:
        plan: what to train.
        placement: devices and data types of the frozen weights.
        empty: do not read the base model's weights: its network is on the meta device.

    Raises:
        InputError: an option or the data cannot be used.
        CheckpointError: base or segmenter cannot be used.
    """
    plan.check()
    videos = _videos(plan)
    objects = _objects(plan, videos)
    segmenter = segmenter_with_concepts(plan.segmenter, placement.vision, placement.dtype)
    base = open_internvl(plan.base, concept_width=segmenter.sizes.width)
    networks = load_networks(plan, base, segmenter, None if empty else placement)
    recipe, held_out = _recipe(plan, videos, objects, segmenter.sizes.image_side)
    rules = QuestionRules(ordered=plan.rules.ordered)
    of_held_out = {video: videos[video] for video in {r.video for r in held_out}}
    clear = replace(
        recipe.loader, videos=of_held_out, objects=_pairs(held_out), rules=rules, whole=False
    )
    return ConceptTask(
        recipe,
        networks,
        Conversation(base.tokenizer, base.size.language.vocabulary),
        _origin(plan, base),
        held_out,
        clear,
    )


def load_networks(
    plan: ConceptPlan, base: BaseModel, segmenter: Sam2Network, placement: Placement | None
) -> SecNetworks:
    """Both networks with what a recipe trains, at the first step.

    Without a placement the base model is on the meta device, without weights.

    Raises:
        CheckpointError, InputError: see `BaseModel.load`.
    """
    trained = replace(RECIPES[plan.recipe], adapters=plan.adapters)
    if placement is None:
        with torch.device("meta"):
            concept = ConceptNetwork(base.size, trained.words)
    else:
        concept = base.load(placement, words=trained.words, seed=plan.seed)
    networks = SecNetworks(concept, segmenter, base.seg, trained, plan.seed)
    if plan.recompute:
        networks.recompute()
    return networks


def _origin(plan: ConceptPlan, base: BaseModel) -> dict[str, Any]:
    return {
        "base": {
            "source": plan.base,
            "tokens": base.size.language.vocabulary,
            "four_bit": plan.four_bit,
        },
        "segmenter": plan.segmenter,
        "objects_file": None if plan.objects is None else plan.objects.name,
        "held_out": None if plan.all_videos else "sha256(video) % 100 == 0",
    }


def _videos(plan: ConceptPlan) -> dict[str, SavVideo]:
    videos = find_videos(plan.data, plan.frames)
    if plan.limit:
        videos = {name: videos[name] for name in sorted(videos)[: plan.limit]}
    return videos


def _objects(plan: ConceptPlan, videos: Mapping[str, SavVideo]) -> tuple[SavObject, ...]:
    if plan.objects is None:
        return list_objects(videos)
    listed = tuple(read_object_list(plan.objects))
    unknown = [video for video, _ in listed if video not in videos]
    if plan.limit:
        listed = tuple(pair for pair in listed if pair[0] in videos)
    elif unknown:
        raise InputError(
            f"{len(unknown)} of {len(listed)} lines of {plan.objects} name videos that are not in "
            f"{plan.data}, such as {unknown[0]}: download them, or use another list"
        )
    return listed


def list_objects(
    videos: Mapping[str, SavVideo], tell: Callable[[int, int | None], None] | None = None
) -> tuple[SavObject, ...]:
    """All manual masklets with at least three visible masks; opens every annotation file.

    Videos whose annotation cannot be read are left out with a warning.

    Args:
        videos: by name.
        tell: called with the number of videos done and of all videos.
    """
    found: list[SavObject] = []
    for done, name in enumerate(sorted(videos), 1):
        try:
            visible = (read_masklets(videos[name].masklets).areas > 0).sum(axis=0)
        except InputError as error:
            log.warning("left out: %s", error)
            continue
        found += [(name, i) for i, rows in enumerate(visible.tolist()) if rows >= FEWEST_ROWS]
        if tell is not None:
            tell(done, len(videos))
    return tuple(found)


def _recipe(
    plan: ConceptPlan,
    videos: Mapping[str, SavVideo],
    objects: tuple[SavObject, ...],
    side: int,
) -> tuple[ConceptRecipe, tuple[QuestionRequest, ...]]:
    held = () if plan.all_videos else tuple(pair for pair in objects if is_held_out(pair[0]))
    kept = frozenset(held)
    taught = tuple(pair for pair in objects if pair not in kept)
    if not taught:
        raise InputError(
            f"no object in {plan.data} can be trained on: give the folder of SA-V's training "
            "videos, with .mp4 files and their _manual.json"
        )
    used = {name: videos[name] for name, _ in taught}
    recipe = ConceptRecipe(
        name=plan.recipe,
        trained=replace(RECIPES[plan.recipe], adapters=plan.adapters),
        loader=QuestionLoader(used, taught, side, plan.rules, whole=plan.frames is None),
        sampler=QuestionSampler(taught, plan.batch, plan.seed),
        schedule=schedule_of(plan.steps),
    )
    if not held:
        log.warning("no video is held out: there is no validation")
    asked = QuestionSampler(held, plan.questions, 0).requests(0) if held else []
    return recipe, tuple(asked)


def _pairs(requests: tuple[QuestionRequest, ...]) -> tuple[SavObject, ...]:
    return tuple((request.video, request.column) for request in requests)


def placement_of(device: torch.device, four_bit: bool) -> Placement:
    """Frozen weights in bfloat16 on a GPU, in float32 on a CPU.

    Raises:
        InputError: 4-bit weights without a GPU.
    """
    if device.type == "cpu":
        if four_bit:
            raise InputError("--four-bit needs a GPU: leave it out")
        return Placement.on("cpu")
    return Placement(str(device), str(device), torch.bfloat16, four_bit)
