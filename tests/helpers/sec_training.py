"""Stage 2 of SeC's training on tiny networks and three tiny videos, also as a program.

python -m helpers.sec_training OUT [--die-at STEP] [--micro-batch N]
"""

import argparse
import json
import os
import shutil
import signal
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from helpers.fixtures import fixture, temporary_folder
from helpers.internvl_base import write_base
from helpers.sam2_reference import TINY
from segment_concept.checkpoints.sam2.load import load_sam2
from segment_concept.checkpoints.sam2.save import save_sam2
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.models.sam2.memory_attention import Attention
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.train.concept_network import Adapters
from segment_concept.train.concept_recipes import ConceptPlan, build_task
from segment_concept.train.concept_task import ConceptTask
from segment_concept.train.loop import train
from segment_concept.train.processes import own_rank
from segment_concept.train.task import LoopOptions

CPU = Placement.on("cpu")


@cache
def base() -> Path:
    """A tiny InternVL2.5."""
    return write_base(temporary_folder() / "InternVL2_5-tiny")


@cache
def segmenter() -> Path:
    """A tiny SAM 2.1 with 22 slots, as stage 1 exports it."""
    path = temporary_folder() / "sam2-22-tiny.safetensors"
    found = load_sam2(fixture("parity/sec_tiny_weights.safetensors"), image_side=128, wiring=TINY)
    network = found.network
    plain = Sam2Network(replace(network.sizes, concept_layers=0))
    state = {n: t for n, t in network.state_dict().items() if not n.startswith("token_attn.")}
    plain.load_state_dict(state)
    save_sam2(plain, path)
    return path


def data() -> Path:
    """Three videos in SA-V's layout. Do not write to it: all tests share it."""
    return fixture("training/sav_tiny")


@cache
def data_with_held_out() -> Path:
    """The same videos, one of them once more under a name that is held out."""
    folder = temporary_folder() / "sav_tiny_held"
    shutil.copytree(data(), folder)
    for file in list(folder.glob("sav_000001*")):
        shutil.copyfile(file, folder / file.name.replace("sav_000001", "sav_000219"))
    return folder


def plan(**changes) -> ConceptPlan:
    """A plan of two steps of two examples."""
    given = {
        "data": data(),
        "base": str(base()),
        "segmenter": str(segmenter()),
        "steps": 2,
        "batch": 2,
        "adapters": Adapters(4, 8, 0.0),
        "questions": 4,
    }
    return ConceptPlan(**{**given, **changes})


def task(**changes) -> ConceptTask:
    return build_task(plan(**changes), CPU)


def log_rows(out: Path, kind: str) -> list[dict]:
    """The lines of a run's log of one kind."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


class _Dying(ConceptTask):
    """Ends like a killed process when it is asked for the losses of a step."""

    died_at = -1

    def losses(self, examples):
        _Dying.died_at -= 1
        if _Dying.died_at == -1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().losses(examples)


def main() -> None:
    """Train three steps without dropout, which depends on the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--die-at", type=int, default=-1)
    parser.add_argument("--micro-batch", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    # the same place for a run that is continued, another one for another process
    weights = given.out.parent / f"start-{own_rank()[0]}"
    if not weights.exists():
        shutil.copytree(base(), weights / "base")
        shutil.copyfile(segmenter(), weights / "segmenter.safetensors")
    start = {"base": str(weights / "base"), "segmenter": str(weights / "segmenter.safetensors")}
    found = task(steps=3, recipe="concept", **start)
    for module in found.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, Attention):
            module.dropout = 0.0
    fields = [getattr(found, name) for name in found.__dataclass_fields__]
    _Dying.died_at = given.die_at
    options = LoopOptions(given.micro_batch, workers=0, device="cpu", save_every=1, log_every=1)
    train(_Dying(*fields) if given.die_at >= 0 else found, given.out, options)


if __name__ == "__main__":
    main()
