"""Held-out questions: how well [SEG] finds the object, with and without distractors."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from segment_concept.models.sam2.network import Decoded
from segment_concept.train.concept_data import ConceptExample, QuestionLoader, QuestionRequest

_AHEAD = 2  # batches
_READERS = 4  # threads that read examples; decoding releases the interpreter's lock


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one held-out question.

    Args:
        iou: of the mask with the best predicted IoU; NaN where the object is not in the query.
        presence_right: whether presence was predicted rightly.
        distracted: whether a reference showed another object.
    """

    iou: float
    presence_right: bool
    distracted: bool


def answers_of(
    requests: Sequence[QuestionRequest],
    load: QuestionLoader,
    answer: Callable[[Sequence[ConceptExample]], Decoded],
    together: int,
) -> list[Answer]:
    """Ask all questions, `together` at a time; the next two batches are read meanwhile."""
    batches = [requests[i : i + together] for i in range(0, len(requests), together)]
    answers: list[Answer] = []
    with ThreadPoolExecutor(_READERS) as pool:
        reading = deque([pool.submit(load, r) for r in batch] for batch in batches[:_AHEAD])
        for number in range(len(batches)):
            examples = [future.result() for future in reading.popleft()]
            for batch in batches[number + _AHEAD : number + _AHEAD + 1]:
                reading.append([pool.submit(load, request) for request in batch])
            answers += _judged(examples, answer(examples))
    return answers


def _judged(examples: Sequence[ConceptExample], decoded: Decoded) -> list[Answer]:
    best = decoded.iou.argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    side = examples[0].truth.shape[-1]
    logits = F.interpolate(decoded.logits[rows, best][:, None], (side, side), mode="bilinear")[:, 0]
    present = decoded.presence > 0
    masks = (logits > 0) & present[:, None, None]
    truth = torch.stack([example.truth for example in examples]).to(masks.device)
    both = (masks & truth).flatten(1).sum(1)
    either = (masks | truth).flatten(1).sum(1)
    visible = truth.flatten(1).any(1)
    iou = (both / either.clamp(min=1)).masked_fill(~visible, math.nan).tolist()
    right = (present == visible).tolist()
    return [
        Answer(iou[i], right[i], example.question.replaced > 0)
        for i, example in enumerate(examples)
    ]


def report_of(answers: Sequence[Answer]) -> dict[str, float]:
    """Mean J over questions whose query has the object, and the share of right presences.

    The score is J + 0.5 presence. Figures of which there is no question are left out; without any
    question the score is 0.
    """
    parts = {
        "j": answers,
        "j_clean": [a for a in answers if not a.distracted],
        "j_distracted": [a for a in answers if a.distracted],
    }
    report = {"questions": float(len(answers))}
    for name, part in parts.items():
        seen = [a.iou for a in part if not math.isnan(a.iou)]
        if seen:
            report[name] = sum(seen) / len(seen)
    if answers:
        report["presence"] = sum(a.presence_right for a in answers) / len(answers)
    report["score"] = report.get("j", 0.0) + 0.5 * report.get("presence", 0.0)
    return report
