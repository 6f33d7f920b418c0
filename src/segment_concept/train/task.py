"""What the training loop asks of a training: schedule, options and the `TrainingTask` protocol."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import nn

from segment_concept.train.losses import Losses

Request = TypeVar("Request")
Example = TypeVar("Example")


@dataclass(frozen=True, slots=True)
class Schedule:
    """AdamW's settings, and its learning rate: a linear warm-up times a cosine.

    Attributes:
        steps: of the whole training.
        rate: the learning rate; parameter groups may have their own.
        last_rate: share of it at the end of the cosine.
        warm_up: steps of the warm-up.
        warm_from: share of the rate at the first step; None for 1 / `warm_up`.
        cosine_after_warm_up: whether the cosine begins where the warm-up ends, or at step 0.
        weight_decay: of parameters that decay.
        clip: largest norm of the gradient of all parameters.
        betas, eps: AdamW's.
        average: decay of the exponential average of the weights; None for no average.
    """

    steps: int
    rate: float = 6e-4
    last_rate: float = 0.03
    warm_up: int = 100
    warm_from: float | None = None
    cosine_after_warm_up: bool = False
    weight_decay: float = 0.02
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    average: float | None = 0.998

    def factor_at(self, step: int) -> float:
        """The share of the learning rate at a step."""
        begin = self.warm_up if self.cosine_after_warm_up else 0
        done = (step - begin) / max(1, self.steps - begin)
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
        return self._warmth(step) * (self.last_rate + (1 - self.last_rate) * wave)

    def _warmth(self, step: int) -> float:
        if self.warm_from is None:
            return min(1.0, (step + 1) / max(1, self.warm_up))
        done = min(1.0, step / max(1, self.warm_up - 1))
        return self.warm_from + (1 - self.warm_from) * done


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a training is executed; another choice when it is continued changes no result.

    Attributes:
        micro_batch: examples per forward pass; 0 for all that a process has in a step.
        precision: "no" for float32, or "bf16" (autocast; weights stay float32).
        workers: processes that load examples, per training process; 0 loads in the process itself.
        prefetch: steps that each of them loads ahead.
        shard: shard weights, gradients and moments over the GPUs (FSDP2).
        device: name of the device ("cuda" is dealt out to the processes).
        save_every, validate_every, log_every: in steps.
        wandb: project of Weights & Biases to log to as well.
    """

    micro_batch: int = 0
    precision: str = "no"
    workers: int = 1
    prefetch: int = 2
    shard: bool = False
    device: str = "auto"
    save_every: int = 100
    validate_every: int = 400
    log_every: int = 20
    wandb: str | None = None


class TrainingTask(Protocol[Request, Example]):
    """One training: data, network, losses and validation.

    A step is a function of its number: `requests` names its examples in the same way in every
    process, and the loop deals them out, so that nothing about data has to be saved. All
    parameters that are trained require a gradient, and no others do.
    """

    @property
    def name(self) -> str:
        """Of the training, as in `recipe.json`."""
        ...

    @property
    def network(self) -> nn.Module:
        """Holds everything that is trained; names in saved states are those of its state_dict."""
        ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def seed(self) -> int: ...

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the classes of modules that are sharded one by one."""
        ...

    def recipe(self) -> dict[str, Any]:
        """What must not change when a run is continued, for JSON."""
        ...

    def groups(self) -> list[dict[str, Any]]:
        """AdamW's parameter groups, with `params`, and `lr` and `weight_decay` if they differ."""
        ...

    def requests(self, step: int) -> Sequence[Request]:
        """The examples of a step, small and picklable."""
        ...

    def loader(self) -> Callable[[Request], Example]:
        """Loads an example in a worker process; picklable.

        A loader that replaces an example that cannot be read says so in an attribute `refused` of
        the example: pairs of a name and a sentence.
        """
        ...

    def counts(self, examples: Sequence[Example]) -> Mapping[str, float]:
        """By loss term, the number of units that the losses of these examples will be sums of."""
        ...

    def losses(self, examples: Sequence[Example]) -> Losses:
        """Of a micro-batch."""
        ...

    def validation_rows(self, rank: int, ranks: int) -> Sequence[Any]:
        """Results of every `ranks`-th piece of held-out material, from the `rank`-th on."""
        ...

    def report(self, rows: Sequence[Any]) -> dict[str, float]:
        """The figures of all rows; one is `score`, the higher the better."""
        ...

    def describe(self, request: Request) -> str:
        """An example, for messages."""
        ...
