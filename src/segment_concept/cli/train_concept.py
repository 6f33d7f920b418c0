"""`segment-concept train concept`, `train objects` and `train export`: stage 2, and its output."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segment_concept.cli.console import plain_errors, require_packages, say

if TYPE_CHECKING:
    from segment_concept.train.concept_recipes import ConceptPlan
    from segment_concept.train.concept_task import ConceptTask
    from segment_concept.train.task import LoopOptions


def concept(
    data: Annotated[Path, typer.Option(help="Folder of SA-V's training videos, as downloaded.")],
    base: Annotated[
        str, typer.Option(help="InternVL2.5: a folder or a repository of the Hugging Face hub.")
    ],
    segmenter: Annotated[
        str, typer.Option(help="A run of `train memory`, its exported file, or SeC's weights.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; continued if it exists.")],
    frames: Annotated[
        Path | None, typer.Option(help="Frames extracted by `train frames`; loading is faster.")
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(help="List of objects (`train objects`). Default: made from all annotations."),
    ] = None,
    variant: Annotated[
        str, typer.Option(help="`published` (878 M trained for 4B) or `lean` (257 M, 24 GB).")
    ] = "published",
    steps: Annotated[int, typer.Option(help="Steps; three epochs of SA-V are 8868.")] = 8868,
    batch: Annotated[int, typer.Option(help="Examples per step, of all processes.")] = 64,
    micro_batch: Annotated[int, typer.Option(help="Examples per forward pass of a process.")] = 8,
    seed: Annotated[int, typer.Option(help="Of data, new weights and dropout.")] = 1,
    limit: Annotated[int, typer.Option(help="Use only so many videos; 0 for all.")] = 0,
    questions: Annotated[int, typer.Option(help="Held-out questions of a validation.")] = 512,
    everything: Annotated[
        bool, typer.Option("--all", help="Train on held-out videos too; no validation.")
    ] = False,
    ordered: Annotated[
        bool, typer.Option(help="References precede the query, in order of time; not as published.")
    ] = False,
    asked_as_tracked: Annotated[
        float, typer.Option(help="Share of questions in the form that tracking uses.")
    ] = 0.0,
    rank: Annotated[int, typer.Option(help="Rank of the adapters; their alpha is twice it.")] = 128,
    four_bit: Annotated[
        bool, typer.Option("--four-bit", help="Frozen language model in 4 bits (bitsandbytes).")
    ] = False,
    recompute: Annotated[
        bool, typer.Option(help="Compute layers again in the backward pass; saves memory.")
    ] = True,
    shard: Annotated[bool, typer.Option("--shard", help="Shard over the GPUs (FSDP2).")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    workers: Annotated[int, typer.Option(help="Loading processes of each process.")] = 8,
    save_every: Annotated[int, typer.Option(help="Steps between saved states.")] = 500,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 1000,
    log_every: Annotated[int, typer.Option(help="Steps between lines of the log.")] = 10,
    wandb: Annotated[
        str | None, typer.Option(help="Project of Weights & Biases to log to as well.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained, load one batch, stop.")
    ] = False,
) -> None:
    """Train stage 2 of SeC: InternVL2.5 learns to name an object by [SEG].

    \b
    segment-concept train concept --data SAV --base OpenGVLab/InternVL2_5-4B \\
        --segmenter runs/memory --out runs/concept
    torchrun --nproc-per-node 8 -m segment_concept train concept ...

    The same command again continues the run. Exit codes: 0 done, 2 invalid input.
    """
    with plain_errors():
        require_packages("train-full", "accelerate", "peft")
        from segment_concept.train.concept_network import Adapters
        from segment_concept.train.concept_questions import QuestionRules
        from segment_concept.train.concept_recipes import ConceptPlan
        from segment_concept.train.task import LoopOptions

        plan = ConceptPlan(
            data=data,
            base=base,
            segmenter=segmenter,
            frames=frames,
            recipe=_recipe_of(variant),
            objects=objects,
            rules=QuestionRules(ordered, asked_as_tracked),
            steps=steps,
            batch=batch,
            seed=seed,
            limit=limit,
            questions=questions,
            all_videos=everything,
            adapters=Adapters(rank, 2 * rank),
            four_bit=four_bit,
            recompute=recompute,
        )
        options = LoopOptions(
            micro_batch=micro_batch,
            workers=workers,
            shard=shard,
            device=device,
            save_every=save_every,
            validate_every=validate_every,
            log_every=log_every,
            wandb=wandb,
        )
        _concept(plan, options, out, dry_run)


def _concept(plan: "ConceptPlan", options: "LoopOptions", out: Path, dry_run: bool) -> None:
    import logging
    from dataclasses import replace

    from segment_concept.evaluate.tracker_source import device_in_turn
    from segment_concept.runtime.gpu import find_device
    from segment_concept.train.concept_recipes import build_task, placement_of
    from segment_concept.train.loop import train
    from segment_concept.train.processes import own_rank
    from segment_concept.types import InputError

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan.check()
    rank, ranks = own_rank()
    own = find_device(device_in_turn(options.device, rank))
    if options.shard and own.type == "cpu":  # before anything is loaded
        raise InputError("sharding needs GPUs: leave --shard out, or train with --device cuda")
    precision = "no" if own.type == "cpu" else "bf16"
    task = build_task(plan, placement_of(own, plan.four_bit), empty=dry_run)
    if dry_run:
        _describe(plan, task, options, ranks)
        return
    report = train(task, out, replace(options, precision=precision))
    say(f"trained {out}: {report}")


def _describe(plan: "ConceptPlan", task: "ConceptTask", options: "LoopOptions", ranks: int) -> None:
    import json
    import time

    import torch

    from segment_concept.train.concept_budget import budget_of

    say(json.dumps(task.recipe(), indent=2))
    budget = budget_of(
        task.network,
        micro_batch=options.micro_batch,
        ranks=ranks,
        shard=options.shard,
        recompute=plan.recompute,
        four_bit=plan.four_bit,
    )
    say(f"parameters: {budget.trained / 1e6:.1f} M trained, {budget.frozen / 1e6:.1f} M frozen")
    say(
        f"memory (estimate): {budget.fixed_bytes / 1e9:.1f} GB for weights, gradients and moments, "
        f"{budget.batch_bytes / 1e9:.1f} GB for a micro-batch of {options.micro_batch}"
    )
    examples = plan.steps * plan.batch
    objects = len(task.recipe_.sampler.objects)
    say(
        f"steps: {plan.steps} of {plan.batch} examples, {examples / objects:.2f} epochs of "
        f"{objects} objects; {len(task.held_out)} held-out questions"
    )
    found = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    gpu, count = (found, ranks) if found is not None else ("A100", 8)
    hours = budget.hours(examples, gpu, count)
    where = f"{count} x {gpu}" if found is not None else f"{count} x {gpu}; no GPU is found here"
    say(
        f"hours (estimate): {hours:.1f} on {where}"
        if hours is not None
        else f"hours: no estimate for {gpu}"
    )
    load, began = task.loader(), time.monotonic()
    loaded: list[Any] = [load(request) for request in task.requests(0)[: options.micro_batch]]
    say(
        f"loaded {len(loaded)} examples in {time.monotonic() - began:.1f} s in one process: "
        f"{sum(len(example.pictures) for example in loaded)} images"
    )
    for example in loaded:
        for _, sentence in example.refused:
            say(f"replaced: {sentence}")


def _recipe_of(variant: str) -> str:
    """The recipe of a variant's name.

    Raises:
        InputError: there is no such variant.
    """
    from segment_concept.types import InputError

    recipes = {"published": "concept", "lean": "concept_lean"}
    if variant not in recipes:
        raise InputError(f"no variant {variant!r}: there are {', '.join(recipes)}")
    return recipes[variant]


def objects(
    data: Annotated[Path, typer.Argument(help="Folder of SA-V's training videos.")],
    out: Annotated[Path, typer.Option(help="The file to write: lines `<video> <column>`.")],
) -> None:
    """List the objects to train stage 2 on: all manual masklets with three visible masks or more.

    It opens every annotation file once, which takes about 20 minutes for all of SA-V.
    """
    with plain_errors():
        from segment_concept.cli.console import progress_bar
        from segment_concept.datasets.sav import find_videos
        from segment_concept.runtime.files import write_atomic
        from segment_concept.train.concept_recipes import list_objects

        videos = find_videos(data)
        with progress_bar("annotations", quiet=False) as tell:
            found = list_objects(videos, tell)
        write_atomic(out, "".join(f"{video} {column}\n" for video, column in found))
    say(f"wrote {out}: {len(found)} objects of {len({video for video, _ in found})} videos")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run of any of the train commands.")],
    out: Annotated[
        Path, typer.Argument(help="File (.safetensors) of `memory` or `compact`, folder of SeC.")
    ],
    dtype: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16; auto: as in the start.")
    ] = "auto",
    published: Annotated[
        bool, typer.Option("--published", help="Use the names of the published checkpoints.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="The base model of `train concept`, if it was moved.")
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="The segmenter of `train concept`, if it was moved.")
    ] = None,
    history: Annotated[
        str, typer.Option(help="How a compact model was trained, for its card.")
    ] = "",
) -> None:
    """Write the weights of a run, ready to track with, and a card of how they were trained.

    \b
    segment-concept train export runs/memory sam2-22.safetensors
    segment-concept train export runs/concept sec/
    """
    with plain_errors():
        if _is_sec_run(run):
            import torch

            from segment_concept.train.export_sec import ExportOptions, export_run
            from segment_concept.types import InputError

            if dtype not in ("auto", "float32", "bfloat16", "float16"):
                raise InputError(f"no data type {dtype!r}: auto, float32, bfloat16 or float16")
            number = None if dtype == "auto" else getattr(torch, dtype)
            card = export_run(run, out, ExportOptions(number, published, base, segmenter))
            say(f"wrote {out}: {card['steps']} steps, {card['report']}")
        else:
            from segment_concept.train.export import export_compact

            say(f"wrote {out}: {export_compact(run, out, history)}")


def _is_sec_run(run: Path) -> bool:
    from segment_concept.train.run_state import RECIPE

    return (run / RECIPE).is_file()


def register(app: typer.Typer) -> None:
    """Add the commands to the group `train`."""
    app.command("concept")(concept)
    app.command("objects")(objects)
    app.command("export")(export)
