"""One training step of each stage of SeC at full size: peak memory, seconds, and does it agree?

    python benchmarks/bench_training_steps.py                       # a GPU with 80 GB, 8 minutes
    python benchmarks/bench_training_steps.py --tiny --device cpu   # does the script run?
    python benchmarks/bench_training_steps.py --case concept_lean --micro-batch 4

Weights and examples are random: time and memory do not depend on what they are. Every case runs in
a process of its own, does three steps and prints one line of JSON: the loss of the first step, the
seconds of the last, and the peak of memory. `agree` compares losses with those of float32 and of
the unsharded run; random weights make them comparable, not small.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from random_weights import RandomWeights
from torch import Tensor, nn

from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import NOT_A_LABEL, TrainingTokens
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B, TINY, with_vocabulary
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.sizes import SEC_4B, HieraSizes, HieraWiring, Sam2Sizes
from segment_concept.train.concept_data import ConceptExample, QuestionLoader, QuestionSampler
from segment_concept.train.concept_network import Adapters, SecNetworks, Trained
from segment_concept.train.concept_questions import Question, Reference
from segment_concept.train.concept_recipes import schedule_of
from segment_concept.train.concept_task import ConceptRecipe, ConceptTask
from segment_concept.train.memory_data import MemoryClip
from segment_concept.train.memory_recipes import RECIPES
from segment_concept.train.memory_task import MemoryTask
from segment_concept.train.micro_batches import TrainingModule
from segment_concept.train.processes import processes
from segment_concept.train.task import LoopOptions

STEPS = 3
LIMIT = 240  # seconds of one case
IMAGE_TOKEN, SEG = 1, 2  # ids of the stand-in for a tokenizer
TINY_SAM2 = Sam2Sizes(
    trunk=HieraSizes(16, (1, 1, 2, 1), 7, HieraWiring(1, (8, 4, 8, 4), (3,))),
    image_side=128,
    width=128,
    slots=22,
    attention_layers=2,
    attention_mlp=128,
    concept_layers=2,
    decoder_mlp=128,
    iou_width=128,
)
# Name -> stage, precision, sharded, 4 bits.
CASES = {
    "memory": ("memory", "bf16", False, False),
    "memory_float32": ("memory", "no", False, False),
    "concept": ("concept", "bf16", False, False),
    "concept_float32": ("concept", "no", False, False),
    "concept_sharded": ("concept", "bf16", True, False),
    "concept_lean": ("concept_lean", "bf16", False, False),
    "concept_lean_four_bit": ("concept_lean", "bf16", False, True),
}


class Stand:
    """In place of a tokenizer's `Conversation`: random ids of the published lengths."""

    image_token = IMAGE_TOKEN

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def training(self, images: int, question: str, answer: str) -> TrainingTokens:
        generator = torch.Generator().manual_seed(images)
        words = torch.randint(3, self._vocabulary, (35,), generator=generator).tolist()
        ids = [*words[:5], *([IMAGE_TOKEN] * 256 + [3]) * images, *words[5:], SEG, 4]
        labels = [NOT_A_LABEL] * (len(ids) - 5) + ids[-5:]
        return TrainingTokens(ids, labels, seg=len(ids) - 2)


def random_network(network: nn.Module, dtype: torch.dtype, device: str) -> nn.Module:
    """A network on the meta device, filled."""
    weights = RandomWeights.of(network, dtype, device)
    state = {name: weights.read(name) for name in weights.shapes}
    network.load_state_dict(state, assign=True)
    return network


def segmenter(given: argparse.Namespace, dtype: torch.dtype, concepts: bool) -> Sam2Network:
    sizes = TINY_SAM2 if given.tiny else SEC_4B
    with torch.device("meta"):
        network = Sam2Network(sizes if concepts else replace(sizes, concept_layers=0))
    random_network(network, dtype, given.device)
    frequencies = network.prompt_encoder.shared_embedding
    frequencies.positional_embedding = frequencies.positional_embedding.float()
    with torch.no_grad():  # the object is judged visible, so that shapes are learned
        network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(5.0)
    return network


def memory_task(given: argparse.Namespace, dtype: torch.dtype) -> tuple[MemoryTask, list[Any]]:
    network = segmenter(given, torch.float32, concepts=False)
    recipe = RECIPES["memory"]
    frames, predicted = (6, (2, 4)) if given.tiny else (30, (2, 6, 10, 14, 18, 22, 26, 29))
    task = MemoryTask(recipe, network, [], None, "random", recompute=given.recompute)
    side = network.sizes.image_side
    clips = [
        MemoryClip(
            torch.randint(0, 256, (frames, 3, side, side), dtype=torch.uint8),
            squares(frames * 2, side).unflatten(0, (frames, 2)),
            predicted,
            f"random {i}",
        )
        for i in range(given.micro_batch)
    ]
    return task, clips


def squares(count: int, side: int) -> Tensor:
    """(count, side, side) bool: a square in each."""
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = True
    return masks


def concept_task(
    given: argparse.Namespace, dtype: torch.dtype, name: str, four_bit: bool
) -> tuple[ConceptTask, list[Any]]:
    trained = Trained(
        words=name == "concept", adapters=Adapters(4, 8) if given.tiny else Adapters()
    )
    width = (TINY_SAM2 if given.tiny else SEC_4B).width
    size = TINY if given.tiny else with_vocabulary(INTERNVL2_5_4B, 151675)
    size = replace(size, concept_width=width)
    with torch.device("meta"):
        laid_out = ConceptNetwork(size, words=trained.words)
    weights = RandomWeights.of(laid_out, dtype, given.device)
    concept = load_concept_network(
        size,
        ((n, weights.read(n)) for n in weights.shapes),
        Placement(given.device, given.device, dtype, four_bit),
        lambda n, tensor: {n: tensor},
        words=trained.words,
    )
    networks = SecNetworks(concept, segmenter(given, dtype, concepts=True), SEG, trained)
    if given.recompute:
        networks.recompute()
    side = networks.segmenter.sizes.image_side
    recipe = ConceptRecipe(
        name,
        trained,
        QuestionLoader({}, (), side),
        QuestionSampler((("random", 0),), given.micro_batch, 1),
        schedule_of(STEPS),
    )
    stand: Any = Stand(size.language.vocabulary)
    task = ConceptTask(recipe, networks, stand, {}, (), recipe.loader)
    return task, [example(side, images=5) for _ in range(given.micro_batch)]


def example(side: int, images: int) -> ConceptExample:
    return ConceptExample(
        Question(0, tuple(Reference(i, 0) for i in range(images - 1)), images, (), 0, 0, False),
        torch.randint(0, 256, (images, 448, 448, 3), dtype=torch.uint8),
        torch.randint(0, 256, (side, side, 3), dtype=torch.uint8),
        squares(1, side)[0],
    )


def measure(given: argparse.Namespace) -> dict[str, Any]:
    stage, precision, shard, four_bit = CASES[given.case]
    on_gpu = given.device != "cpu"
    if (shard or four_bit) and not on_gpu:
        return {"case": given.case, "skipped": "needs a GPU"}
    torch.manual_seed(0)
    dtype = torch.bfloat16 if on_gpu and precision == "bf16" else torch.float32
    if stage == "memory":
        task, examples = memory_task(given, dtype)
    else:
        task, examples = concept_task(given, dtype, stage, four_bit)
    options = LoopOptions(precision=precision, shard=shard, device=given.device)
    with processes(options, task.blocks) as accelerator:
        optimizer = torch.optim.AdamW(task.groups(), lr=task.schedule.rate)
        module, optimizer = accelerator.prepare(TrainingModule(task), optimizer)
        module.train()
        losses, seconds = [], []
        for _ in range(STEPS):
            torch.manual_seed(1)
            began = time.monotonic()
            loss, _ = module(examples, task.counts(examples))
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            seconds.append(time.monotonic() - began)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None
    trained = sum(p.numel() for p in task.network.parameters() if p.requires_grad)
    return {
        "case": given.case,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "examples": len(examples),
        "recompute": given.recompute,
        "trained_million": round(trained / 1e6, 2),
        "loss": losses[0],
        "losses_finite": all(x == x and abs(x) != float("inf") for x in losses),
        "seconds": round(seconds[-1], 3),
        "peak_gib": None if peak is None else round(peak, 2),
    }


def all_cases(words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every case in a process of its own."""
    for case in CASES:
        command = [sys.executable, __file__, *words, "--case", case]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            yield {"case": case, "failed": f"not done after {LIMIT} s"}
            continue
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode == 0 and lines:
            yield json.loads(lines[-1])
        else:
            yield {"case": case, "failed": done.stderr.strip().splitlines()[-1:]}


def agreement(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Relative difference of losses that should be equal, or nearly."""
    pairs = (
        ("memory", "memory_float32"),
        ("concept", "concept_float32"),
        ("concept", "concept_sharded"),
    )
    return {
        f"{one} / {two}": abs(found[one]["loss"] / found[two]["loss"] - 1)
        for one, two in pairs
        if "loss" in found.get(one, {}) and "loss" in found.get(two, {})
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="networks of the tests")
    parser.add_argument("--micro-batch", type=int, default=2)
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given)))
        return
    found = {}
    for row in all_cases(sys.argv[1:]):
        found[row["case"]] = row
        print(json.dumps(row), flush=True)
    print(json.dumps({"agree": agreement(found)}))


if __name__ == "__main__":
    main()
