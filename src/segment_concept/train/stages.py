"""The trained stages of the curriculum, in order; `curriculum.py` runs them."""

from pathlib import Path

import torch

from segment_concept.checkpoints.compact import load_compact
from segment_concept.checkpoints.efficientnet import imagenet_backbone
from segment_concept.models.compact.memory_attention import SCORES
from segment_concept.models.compact.network import CompactNetwork
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import Verifier
from segment_concept.synthetic import ClipSpec
from segment_concept.synthetic.photo_clip import PhotoClipSpec
from segment_concept.train.compact import Stage, measure_levels
from segment_concept.train.corruption import Corruption
from segment_concept.train.data import SamplerConfig, load_world
from segment_concept.train.losses import LossWeights
from segment_concept.train.task import Schedule
from segment_concept.train.unroll import TrackingTask
from segment_concept.types import InputError

_MEASURED = 24  # clips whose backbone features set the input statistics of an untrained network
_FEW = 150  # clips whose features are kept for replay: 2 GB per process
_STREAMS = 2
_FRAMES, _HEIGHT, _WIDTH = 6, 384, 672  # 448 lines, as in tracking, take half as long again
_SCORE = 2.5  # weight of a score beside those of similarity, before training
_LEAST_AREA = 300  # pixels

# Rendered clips with cuts back to a place and away to another one; objects grow, turn, consist of
# two parts and are hidden.
_RENDERED = ClipSpec(
    frames=_FRAMES,
    height=_HEIGHT,
    width=_WIDTH,
    least_area=_LEAST_AREA,
    cut=0.4,
    absent=0.45,
    absent_by_cut=0.7,
    interlude=0.6,
    same_place=0.6,
    camouflage=0.4,
    solid=0.4,
    growth=0.5,
    turning=0.7,
    pair=0.2,
)

_PHOTOS = PhotoClipSpec(
    frames=_FRAMES,
    height=_HEIGHT,
    width=_WIDTH,
    least_area=_LEAST_AREA,
    cut=0.4,
    leaves=0.12,
    rider=0.35,
    occluders=0.35,
    bars=0.35,
)


def clips(steps: int = 330) -> Stage:
    """Clips, made of photographs or rendered, in which objects grow, turn, vanish and return.

    Some objects consist of two things that move together. Some memories are wrong, and the target
    is the whole object (`corruption.py`). Three of ten clips have frames that differ more
    (`synthetic/variation.py`). A step has six clips.
    """
    return Stage(
        name="clips",
        sampler=SamplerConfig(
            _RENDERED,
            fresh=1,
            replayed=2,
            stock=_FEW,
            photos=_PHOTOS,
            photo_share=0.6,
            varied=0.3,
            streams=_STREAMS,
        ),
        schedule=Schedule(steps=steps, rate=1.5e-4, last_rate=0.1, warm_up=30, average=0.99),
        # The published alpha of 0.25 gives background three times the weight of the object.
        task=TrackingTask(
            weights=LossWeights(alpha=0.6), corruption=Corruption(objects=0.4), click_passes=3
        ),
        validation_clips=12,
        validate_every=steps,
        save_every=20,
        seed=31,
        short_side=384,
        kept=0.4,
    )


STAGES = {stage.__name__: stage for stage in (clips,)}


def find_stage(name: str, steps: int | None = None) -> Stage:
    """The stage of that name, with `steps` steps if given.

    Raises:
        InputError: there is no such stage.
    """
    if name not in STAGES:
        raise InputError(f"there is no training stage {name!r}: there are {', '.join(STAGES)}")
    return STAGES[name]() if steps is None else STAGES[name](steps)


def initial_model(data: Path, start: Path | None = None) -> CompactSegmenter:
    """The model that training starts from: an exported one, or an untrained one.

    An untrained one needs the package with the ImageNet backbone; an exported one contains it.
    """
    torch.manual_seed(0)
    if start is None:
        return fresh_model(data)
    model = load_compact(start)
    model.mask_bias = 0.0  # fitted again after training
    if model.verifier is None:
        model.verifier = Verifier(model.widths.descriptor)
    begin_scores(model.network)
    return model


@torch.no_grad()
def begin_scores(network: CompactNetwork) -> None:
    """Let a network that does not read the scores of classifiers yet read them as similarity.

    A score says what the difference between the similarities to object and to background does, and
    what the remembered mask does: the network already listens to both. The factors were chosen on
    held-out clips and validation video (docs/LOG.md).
    """
    attention, decoder = network.memory_attention, network.decoder
    if not attention.score.weight.any():
        inside, outside = attention.similar.weight.unbind(1)
        attention.score.weight.copy_((_SCORE * (inside - outside) / 2)[:, None])
        decoder.score_eighth.weight.copy_(decoder.prior_eighth.weight / SCORES)


def fresh_model(data: Path) -> CompactSegmenter:
    """An untrained network behind the ImageNet backbone, with input statistics of some clips."""
    network = CompactNetwork()
    verifier = Verifier(network.widths.descriptor)
    segmenter = CompactSegmenter(imagenet_backbone().channels_last(), network, verifier)
    sampler = clips().sampler
    world = load_world(data, sampler, "train")
    drawn = [world.clip(sampler, seed) for seed in range(_MEASURED)]
    pixels = [torch.from_numpy(clip.rgb).permute(0, 3, 1, 2).float() for clip in drawn]
    measure_levels(segmenter, pixels)
    return segmenter
