"""A training task small enough to check by hand, also as a program that can be killed.

python -m helpers.training_toy OUT [--die-at STEP] [--steps N] [--micro-batch N] [--slots N]
"""

import argparse
import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from segment_concept.train.loop import train
from segment_concept.train.losses import Losses
from segment_concept.train.task import LoopOptions, Schedule


@dataclass(frozen=True)
class Question:
    """One example; different ones have different numbers of objects, as clips do."""

    seed: int
    inputs: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    refused: tuple[tuple[str, str], ...] = ()


class Load:
    """Makes the inputs of a request; `bad` ones are replaced, `wrong` ones are not finite."""

    def __init__(self, bad=(), wrong=()):
        self.bad, self.wrong = frozenset(bad), frozenset(wrong)

    def __call__(self, seed: int) -> Question:
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(int(rng.integers(1, 5)), 3)).astype(np.float32)
        if seed in self.wrong:
            inputs[:] = np.nan
        refused = ((f"video {seed}", f"video {seed} is damaged"),) if seed in self.bad else ()
        return Question(seed, torch.from_numpy(inputs), refused)


class Toy:
    """Regression of one number behind a frozen layer, with dropout between."""

    name, seed, blocks = "toy", 5, ()

    def __init__(self, steps=12, slots=2, bad=(), wrong=(), dropout=0.2, average=0.9) -> None:
        torch.manual_seed(1)
        layers = [nn.Linear(3, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 4), nn.Linear(4, 1)]
        self.network = nn.Sequential(*layers)
        self.network[0].requires_grad_(False)
        self.schedule = Schedule(steps=steps, rate=0.05, warm_up=2, average=average)
        self.slots, self.load = slots, Load(bad, wrong)
        self.died_at: int | None = None

    def recipe(self):
        return {"schedule": asdict(self.schedule), "slots": self.slots}

    def groups(self):
        first, second = self.network[3], self.network[4]
        return [
            {"params": list(first.parameters())},
            {"params": list(second.parameters()), "lr": 0.01, "weight_decay": 0.0},
        ]

    def requests(self, step):
        return [1000 * step + slot for slot in range(self.slots)]

    def loader(self):
        return self.load

    def counts(self, examples):
        return {"error": float(sum(len(e.inputs) for e in examples))}

    def losses(self, examples):
        if self.died_at is not None and examples[0].seed >= 1000 * self.died_at:
            os.kill(os.getpid(), signal.SIGKILL)
        inputs = torch.cat([e.inputs for e in examples])
        error = (self.network(inputs)[:, 0] - inputs.sum(1)).pow(2)
        return Losses(
            {"error": error.sum()},
            {"error": float(len(inputs))},
            {"largest": (error.max().item(), 1.0)},
        )

    def validation_rows(self, rank, ranks):
        return [self._error(n) for n in range(6)[rank::ranks]]

    def _error(self, number):
        inputs = self.load(10**6 + number).inputs
        return (self.network(inputs)[:, 0] - inputs.sum(1)).pow(2).mean().item()

    def report(self, rows):
        return {"score": -float(np.mean(rows)), "pieces": float(len(rows))}

    def describe(self, request):
        return f"question {request}"


def options(**changes) -> LoopOptions:
    """Everything in this process, saved and logged often."""
    often = {"save_every": 3, "log_every": 1, "validate_every": 6}
    return LoopOptions(**{"workers": 0, "device": "cpu", **often, **changes})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    for name in ("die-at", "steps", "micro-batch", "slots"):
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    toy = Toy(steps=given.steps or 12, slots=given.slots or 2, dropout=0.0)
    toy.died_at = given.die_at
    train(toy, given.out, options(micro_batch=given.micro_batch or 0))


if __name__ == "__main__":
    main()
