"""The training loop: resumable from any interruption, on one process or many."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from segment_concept.runtime.files import locked
from segment_concept.train.loading import Refusals, loaded_steps
from segment_concept.train.losses import merge_figures
from segment_concept.train.micro_batches import TrainingModule, added, cut, mixed_seed
from segment_concept.train.processes import gathered, own_rank, processes
from segment_concept.train.run_state import (
    AVERAGE,
    TRAINED,
    Progress,
    append_to_log,
    cut_log,
    discard_unfinished,
    keep_recipe,
    newest_state,
    publish_state,
    read_weights,
    state_errors,
    unfinished_state,
)
from segment_concept.train.task import LoopOptions, TrainingTask
from segment_concept.train.trackers import open_trackers
from segment_concept.train.weights import Average, frozen_hash, saved_state, trained_parameters
from segment_concept.types import CheckpointError, InputError

log = logging.getLogger(__name__)

_MOST_SKIPPED = 20  # steps in a row


def train(
    task: TrainingTask[Any, Any], out: Path, options: LoopOptions | None = None
) -> dict[str, float]:
    """Train a task; a run in `out` is continued. Returns the report of the last validation.

    Afterwards the task's network has the trained weights, or their average if the schedule has
    one. `run_state` describes the files in `out`.

    Raises:
        InputError: another run is writing to `out`, or one with another recipe is in it; the data
            cannot be used; or 20 steps in a row had a gradient that is not finite.
        OutputError: a state cannot be written, or another process ended.
    """
    options = options or LoopOptions()
    out.mkdir(parents=True, exist_ok=True)
    # Two runs in one folder would overwrite each other's state; one process speaks for a run.
    guard = locked(out / ".lock", out) if own_rank()[0] == 0 else nullcontext()
    with guard, processes(options, task.blocks) as accelerator:
        run = _Run(task, out, options, accelerator)
        try:
            return run.go()
        finally:
            for tracker in run.trackers:
                tracker.finish()


class _Run:
    """The mutable state of a run."""

    def __init__(
        self,
        task: TrainingTask[Any, Any],
        out: Path,
        options: LoopOptions,
        accelerator: Accelerator,
    ) -> None:
        self.task, self.out, self.options, self.accelerator = task, out, options, accelerator
        self.main = accelerator.is_main_process
        self.progress = Progress()
        self.refusals = Refusals()
        schedule = task.schedule
        if self.main:
            discard_unfinished(out)
            frozen = frozen_hash(task.network)
            keep_recipe(out, {"task": task.name, "frozen": frozen, **task.recipe()})
        optimizer = torch.optim.AdamW(
            task.groups(),
            lr=schedule.rate,
            betas=schedule.betas,
            eps=schedule.eps,
            weight_decay=schedule.weight_decay,
        )
        self.rates = [group["lr"] for group in optimizer.param_groups]
        module = TrainingModule(task)
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        self.average = None if schedule.average is None else Average(task.network)
        accelerator.register_save_state_pre_hook(self._write_weights)
        accelerator.register_load_state_pre_hook(self._read_weights)
        self.trackers = open_trackers(out, options.wandb) if self.main else []
        self._resume()

    @property
    def ranks(self) -> int:
        return int(self.accelerator.num_processes)

    def go(self) -> dict[str, float]:
        options, progress = self.options, self.progress
        last = self.task.schedule.steps
        if progress.step >= last:
            return self._finish()
        steps = range(progress.step, last)
        rank = self.accelerator.process_index
        loaded = loaded_steps(self.task, options, steps, rank, self.ranks)
        began, waiting = time.monotonic() - progress.seconds, time.monotonic()
        for step, examples in zip(steps, loaded, strict=True):
            loading = time.monotonic() - waiting
            self._learn(step, examples, loading)
            progress.step, progress.seconds = step + 1, time.monotonic() - began
            if progress.step % options.log_every == 0:
                self._log_steps()
            if progress.step % options.validate_every == 0 and progress.step < last:
                self._validate()
            if progress.step % options.save_every == 0 and progress.step < last:
                self._save()
            waiting = time.monotonic()
        if progress.pending:
            self._log_steps()
        self._validate()
        self._save()
        return self._finish()

    def _finish(self) -> dict[str, float]:
        """Leave the weights to use in the network. Returns the last report."""
        if self.average is not None:
            self.average.put_into(self.task.network)
        return self.progress.report

    def _learn(self, step: int, examples: Sequence[Any], loading: float) -> None:
        """One step of the optimizer, from this process's examples."""
        began = time.monotonic()
        # Dropout then depends on nothing but the step and the process.
        torch.manual_seed(mixed_seed(self.task.seed, step, self.accelerator.process_index))
        self.module.train()
        shares = gathered(
            (
                self.task.counts(examples),
                [r for example in examples if (r := getattr(example, "refused", ()))],
                len(examples),
            )
        )
        self._note_refused(shares)
        counts = added([counts for counts, _, _ in shares])
        factor = self.task.schedule.factor_at(step)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        figures: dict[str, tuple[float, float]] = {}
        parts = cut(examples, self.options.micro_batch)
        for part in parts:
            last = part is parts[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                loss, found = self.module(part, counts)
                # DDP and FSDP2 take the mean of the processes' gradients; the loss is their sum.
                self.accelerator.backward(loss * self.ranks)
            figures = merge_figures(figures, found)
        norm = self._descend(step)
        mine = {"figures": figures, "loading": loading, "computing": time.monotonic() - began}
        self._note(gathered(mine), norm, factor, sum(n for _, _, n in shares))

    def _descend(self, step: int) -> float:
        """Apply the gradient. Returns its norm before it is clipped."""
        schedule, progress = self.task.schedule, self.progress
        trained = trained_parameters(self.module)
        norm = float(self.accelerator.clip_grad_norm_(trained, schedule.clip))
        if math.isfinite(norm):
            self.optimizer.step()
            progress.skipped = 0
        else:
            progress.skipped += 1
            log.warning("step %d: the gradient is not finite, the step is skipped", step)
        self.optimizer.zero_grad(set_to_none=True)
        if progress.skipped >= _MOST_SKIPPED:
            last = "; ".join(map(self.task.describe, self.task.requests(step)))
            raise InputError(
                f"the gradients of {_MOST_SKIPPED} steps in a row are not finite, the last one "
                f"step {step} on {last}: lower the learning rate or train in float32; the last "
                "saved state is kept"
            )
        if self.average is not None and schedule.average is not None:
            self.average.update(min(schedule.average, (step + 1) / (step + 20)))
        return norm

    def _note_refused(self, shares: Sequence[tuple[Any, Any, int]]) -> None:
        refused = [pairs for _, found, _ in shares for pairs in found]
        for sentence in self.refusals.add(sum(n for _, _, n in shares), refused):
            if self.main:
                log.warning("replaced by another example: %s", sentence)

    def _note(
        self, found: Sequence[Mapping[str, Any]], norm: float, factor: float, examples: int
    ) -> None:
        """Keep the figures of a step until they are logged."""
        figures: dict[str, Any] = {}
        for each in found:
            figures = merge_figures(figures, each["figures"])
        figures |= {
            "gradient": (norm, 1.0),
            "rate": (self.task.schedule.rate * factor, 1.0),
            "examples": (float(examples), 1.0),
            "loading_s": (max(each["loading"] for each in found), 1.0),
            "computing_s": (max(each["computing"] for each in found), 1.0),
        }
        self.progress.pending.append(figures)

    def _log_steps(self) -> None:
        means: dict[str, Any] = {}
        for figures in self.progress.pending:
            means = merge_figures(means, figures)
        self.progress.pending.clear()
        values = {name: total / max(1.0, count) for name, (total, count) in means.items()}
        if torch.cuda.is_available():
            values["peak_gb"] = torch.cuda.max_memory_allocated() / 2**30
        self._log("train", values)

    def _log(self, kind: str, values: Mapping[str, float]) -> None:
        if not self.main:
            return
        row: dict[str, Any] = {"kind": kind, "step": self.progress.step}
        row["seconds"] = round(self.progress.seconds, 1)
        row |= {name: float(f"{value:.6g}") for name, value in values.items()}
        append_to_log(self.out, row)
        log.info("%s", row)
        for tracker in self.trackers:
            named = {f"{kind}/{name}": value for name, value in values.items()}
            tracker.log(named, step=self.progress.step)

    def _validate(self) -> None:
        """Validate the weights, or their average, on the held-out material."""
        network, task = self.task.network, self.task
        kept = None if self.average is None else self.average.put_into(network)
        self.module.eval()
        # A sharded network computes on all processes together, so all do the same.
        rank, ranks = (0, 1) if self.options.shard else (self.accelerator.process_index, self.ranks)
        with torch.no_grad(), self.accelerator.autocast():
            rows = task.validation_rows(rank, ranks)
        everything = [rows] if self.options.shard else gathered(rows)
        report = task.report([row for part in everything for row in part])
        if kept is not None:
            network.load_state_dict(kept, strict=False)
        self._log("held_out", report)
        progress = self.progress
        progress.report = report
        if not progress.best or report["score"] > progress.best["score"]:
            progress.best = {**report, "step": float(progress.step)}

    def _save(self) -> None:
        step = self.progress.step
        folder = unfinished_state(self.out, step)
        self.accelerator.wait_for_everyone()
        with state_errors(self.out):
            folder.mkdir(exist_ok=True)
            self.accelerator.save_state(str(folder))
            if self.main:
                if self.average is not None:
                    save_file(self.average.weights, folder / AVERAGE)
                self.progress.write(folder)
            self.accelerator.wait_for_everyone()
            if self.main:
                publish_state(self.out, step)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        self.accelerator.wait_for_everyone()
        state = newest_state(self.out)
        if self.main:
            cut_log(self.out, -1 if state is None else Progress.read(state).step)
        if state is None:
            return
        self.progress = Progress.read(state)
        read_weights(state / TRAINED)  # a damaged file is refused with a sentence
        self.accelerator.load_state(str(state))
        if self.average is not None:
            self.average.load(read_weights(state / AVERAGE))
        log.info("continuing %s at step %d", self.out, self.progress.step)

    def _write_weights(self, models: list[Any], weights: list[Any], folder: str) -> None:
        """Of the network, a state has what is trained; frozen weights are in the recipe by hash."""
        weights.clear()
        state = saved_state(self.task.network)
        if self.main:
            save_file(state, Path(folder) / TRAINED)

    def _read_weights(self, models: list[Any], folder: str) -> None:
        if not models:  # sharded: accelerate reads its own files
            return
        models.clear()
        state = read_weights(Path(folder) / TRAINED)
        unknown = self.task.network.load_state_dict(state, strict=False).unexpected_keys
        if unknown:
            raise CheckpointError(f"{folder} is of another network: it has {', '.join(unknown)}")
