"""Stage 2 of SeC as a task of the training loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from segment_concept.models.internvl.prompt_template import (
    TRAINING_ANSWERS,
    TRAINING_QUESTIONS,
    Conversation,
    TrainingTokens,
)
from segment_concept.models.sam2.network import Decoded
from segment_concept.ops.resize import normalized
from segment_concept.tracking.segmenter import NO_OBJECT_LOGIT
from segment_concept.train.concept_data import (
    ConceptExample,
    QuestionLoader,
    QuestionRequest,
    QuestionSampler,
)
from segment_concept.train.concept_network import SecNetworks, Trained
from segment_concept.train.concept_validation import Answer, answers_of, report_of
from segment_concept.train.losses import MASK_TERMS, Losses, LossWeights, mask_losses
from segment_concept.train.task import Schedule
from segment_concept.train.weights import trained_parameters

# Layers of Qwen2, InternLM2 and InternViT.
BLOCKS = ("Qwen2DecoderLayer", "LlamaDecoderLayer", "InternVLVisionLayer")
_VALIDATED_TOGETHER = 8  # questions per forward pass of validation


@dataclass(frozen=True, slots=True)
class ConceptRecipe:
    """What is trained, on what questions, and how long. The defaults are SeC's release.

    Args:
        name: of the recipe.
        trained: the parameters that are trained.
        loader: reads questions for training; it has their rules.
        sampler: which object is asked for when.
        schedule: of the optimizer.
        weights: of the mask losses.
    """

    name: str
    trained: Trained
    loader: QuestionLoader
    sampler: QuestionSampler
    schedule: Schedule
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True, eq=False)
class ConceptTask:
    """Implements `TrainingTask`: [SEG] in the answer is taught to find the object in the query.

    Args:
        recipe_: what is trained and how.
        network: both networks, with adapters.
        conversation: of the tokenizer with [SEG].
        origin: where data and weights are from, for `recipe.json`.
        held_out: questions to validate on, all fixed.
        held_out_loader: reads them.
    """

    recipe_: ConceptRecipe
    network: SecNetworks
    conversation: Conversation
    origin: Mapping[str, Any]
    held_out: tuple[QuestionRequest, ...]
    held_out_loader: QuestionLoader

    @property
    def name(self) -> str:
        """Of the task."""
        return "concept"

    @property
    def schedule(self) -> Schedule:
        """Of the optimizer."""
        return self.recipe_.schedule

    @property
    def seed(self) -> int:
        """Of data and dropout."""
        return self.recipe_.sampler.seed

    @property
    def blocks(self) -> tuple[str, ...]:
        """Classes of the modules that are sharded one by one: those that the networks have."""
        present = {type(module).__name__ for module in self.network.modules()}
        return tuple(name for name in BLOCKS if name in present)

    def recipe(self) -> dict[str, Any]:
        """What must not change when a run is continued, for JSON."""
        recipe = self.recipe_
        return {
            "recipe": recipe.name,
            "trained": asdict(recipe.trained),
            "rules": asdict(recipe.loader.rules),
            "schedule": asdict(recipe.schedule),
            "weights": asdict(recipe.weights),
            "batch": recipe.sampler.batch,
            "seed": recipe.sampler.seed,
            "objects": {
                "count": len(recipe.sampler.objects),
                "sha256": recipe.sampler.sha256(),
            },
            **self.origin,
        }

    def groups(self) -> list[dict[str, Any]]:
        """One group: weight decay applies to everything, as published."""
        return [{"params": trained_parameters(self.network), "lr": self.schedule.rate}]

    def requests(self, step: int) -> Sequence[QuestionRequest]:
        """The examples of a step."""
        return self.recipe_.sampler.requests(step)

    def loader(self) -> Callable[[QuestionRequest], ConceptExample]:
        """Reads an example."""
        return self.recipe_.loader

    def counts(self, examples: Sequence[ConceptExample]) -> dict[str, float]:
        """Objects (one per example), and label tokens."""
        counts = dict.fromkeys(MASK_TERMS, float(len(examples)))
        if self.recipe_.trained.words:
            labels = sum(self._tokens(example).label_count for example in examples)
            counts["language"] = float(labels)
        return counts

    def losses(self, examples: Sequence[ConceptExample]) -> Losses:
        """Of a micro-batch."""
        rows = [self._tokens(example) for example in examples]
        hidden, decoded = self._forward(examples, rows)
        truth = torch.stack([example.truth for example in examples])
        losses = decoded_losses(decoded, truth.to(decoded.logits.device), self.recipe_.weights)
        if not self.recipe_.trained.words:
            return losses
        return losses + self.network.language_losses(hidden, rows)

    def validation_rows(self, rank: int, ranks: int) -> Sequence[Answer]:
        """Answers to every `ranks`-th held-out question from the `rank`-th on."""
        return answers_of(
            self.held_out[rank::ranks], self.held_out_loader, self._answer, _VALIDATED_TOGETHER
        )

    def report(self, rows: Sequence[Answer]) -> dict[str, float]:
        """Figures of all answers."""
        return report_of(rows)

    def describe(self, request: QuestionRequest) -> str:
        """An example, for messages."""
        return f"video {request.video}, object {request.column}, seed {request.seed}"

    def _answer(self, examples: Sequence[ConceptExample]) -> Decoded:
        return self._forward(examples, [self._tokens(example) for example in examples])[1]

    def _forward(
        self, examples: Sequence[ConceptExample], rows: Sequence[TrainingTokens]
    ) -> tuple[Tensor, Decoded]:
        """Hidden states of all tokens, and the masks."""
        network = self.network
        pictures = torch.cat([example.pictures for example in examples])
        queries = torch.stack([example.query for example in examples])
        hidden = network.read(
            _pixels(pictures, network.device), rows, self.conversation.image_token
        )
        concepts = network.concepts(hidden, rows)
        return hidden, network.segment(_pixels(queries, network.device), concepts)

    def _tokens(self, example: ConceptExample) -> TrainingTokens:
        question, images = example.question, len(example.pictures)
        if question.as_tracked:
            return self.conversation.training_query(images)
        text, answer = TRAINING_QUESTIONS[question.text], TRAINING_ANSWERS[question.answer]
        return self.conversation.training(images, text, answer)


def decoded_losses(decoded: Decoded, truth: Tensor, weights: LossWeights) -> Losses:
    """SAM 2's losses of decoded masks at the truth's size.

    Masks of objects that are predicted to be absent are silenced before they are enlarged.

    Args:
        decoded: of O images.
        truth: (O, S, S) bool, or 0 and 1.
        weights: of the terms.
    """
    hidden = (decoded.presence <= 0)[:, None, None, None]
    silenced = decoded.logits.masked_fill(hidden, NO_OBJECT_LOGIT)
    logits = F.interpolate(silenced, truth.shape[-2:], mode="bilinear")
    return mask_losses(logits, decoded.iou, decoded.presence, truth.to(logits.dtype), weights)


def _pixels(images: Tensor, device: torch.device) -> Tensor:
    """(n, 3, H, W) float32 normalized from (n, H, W, 3) uint8."""
    return normalized(images.to(device).permute(0, 3, 1, 2).float().div(255))
