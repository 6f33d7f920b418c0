"""SeC's prompt templates as token ids: of queries while tracking, and of training examples.

Qwen's chat format without a system turn. While tracking, `It is [SEG].` is part of the user turn,
as published; in training [SEG] is in the assistant's answer. Tokens after [SEG] cannot change its
hidden state (attention is causal): a query is computed only up to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from segment_concept.models.internvl.sizes import TOKENS_PER_IMAGE
from segment_concept.types import CheckpointError

OPENING = "<|im_start|>user\n"
IMAGE_OPEN, IMAGE_TOKEN, IMAGE_CLOSE = "<img>", "<IMG_CONTEXT>", "</img>"
BETWEEN_IMAGES = "\n"
SEG = "[SEG]"
QUESTION = (
    "Please segment the object in the last frame based on the object labeled in the first "
    "several images."
)
ANSWER = f"It is {SEG}."  # as published, without a space after the question
TURN_END = "<|im_end|>\n<|im_start|>assistant\n"
ANSWER_END = "<|im_end|>"
AFTER_ANSWER = "\n"  # read, but not a label
NOT_A_LABEL = -100

# Of the release's training data, each drawn with the same probability.
TRAINING_QUESTIONS = (
    QUESTION,
    "Using the object labeled in the first several images, please segment the object in the final "
    "frame.",
    "Segment the object in the last frame based on the annotations from the first several images.",
    "Please perform object segmentation on the last frame using the labeled object from the "
    "previous several frames.",
    "Based on the object marked in the first several images, segment the object in the last frame.",
    "Using the object annotations from the first several images, segment the object in the final "
    "frame.",
)
TRAINING_ANSWERS = (
    f"It is {SEG}.",
    f"Sure, {SEG}.",
    f"Sure, it is {SEG}.",
    f"Sure, the segmentation result is {SEG}.",
    f"{SEG}.",
)


class Tokenizer(Protocol):
    """The part of transformers' tokenizers that is used."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of `text`."""
        ...


def full_text(images: int) -> str:
    """The whole published prompt for `images` images, including the query."""
    image = IMAGE_OPEN + IMAGE_TOKEN * TOKENS_PER_IMAGE + IMAGE_CLOSE
    return OPENING + BETWEEN_IMAGES.join([image] * images) + QUESTION + ANSWER + TURN_END


def training_text(images: int, question: str, answer: str) -> str:
    """The whole published training example for `images` images, including the query."""
    image = IMAGE_OPEN + IMAGE_TOKEN * TOKENS_PER_IMAGE + IMAGE_CLOSE
    asked = OPENING + BETWEEN_IMAGES.join([image] * images) + question + TURN_END
    return asked + answer + ANSWER_END + AFTER_ANSWER


@dataclass(frozen=True, slots=True)
class TrainingTokens:
    """A training example: token ids, a label (or `NOT_A_LABEL`) per token, index of [SEG]."""

    ids: list[int]
    labels: list[int]
    seg: int

    @property
    def label_count(self) -> int:
        """Number of tokens that the language model learns to predict."""
        return sum(label != NOT_A_LABEL for label in self.labels)


class Conversation:
    """Token ids of prompts for given numbers of images. Prompts share their prefixes.

    Args:
        tokenizer: SeC's tokenizer (Qwen2.5 with InternVL's image tokens and [SEG]).
        vocabulary: number of token embeddings of the language model.

    Raises:
        CheckpointError: the tokenizer lacks a token, splits one, or is of another vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self.image_token = self._single(IMAGE_TOKEN)
        self._seg = self._single(SEG)
        self._opening = self._ids(OPENING)
        self._between = self._ids(BETWEEN_IMAGES)
        self._image = (
            [self._single(IMAGE_OPEN)]
            + [self.image_token] * TOKENS_PER_IMAGE
            + [self._single(IMAGE_CLOSE)]
        )
        tail = self._ids(QUESTION + ANSWER)
        self._question = tail[: tail.index(self._seg) + 1]
        self._check(vocabulary)

    def prefix_length(self, keyframes: int) -> int:
        """Tokens before the image that follows `keyframes` images; 0 if there is none."""
        each = len(self._image) + len(self._between)
        return len(self._opening) + keyframes * each if keyframes else 0

    def tokens(self, already_read: int, keyframes: int) -> list[int]:
        """Ids from the first keyframe that is not cached up to and including [SEG].

        Args:
            already_read: number of keyframes in the cached prefix.
            keyframes: number of keyframes; the query follows them.
        """
        unread = (self._image + self._between) * (keyframes - already_read)
        opening = [] if already_read else self._opening
        return opening + unread + self._image + self._question

    def training(self, images: int, question: str, answer: str) -> TrainingTokens:
        """A training example with [SEG] in the answer. Labels: the answer and its end token.

        Args:
            images: number of images; the last one is the query.
            question: one of `TRAINING_QUESTIONS`.
            answer: one of `TRAINING_ANSWERS`.
        """
        asked = self._opening + (self._image + self._between) * (images - 1) + self._image
        asked += self._ids(question + TURN_END)
        # encoded apart, as published, so that no token spans question and answer
        answered, after = self._ids(answer + ANSWER_END), self._ids(AFTER_ANSWER)
        return TrainingTokens(
            ids=asked + answered + after,
            labels=[NOT_A_LABEL] * len(asked) + answered + [NOT_A_LABEL] * len(after),
            seg=len(asked) + answered.index(self._seg),
        )

    def training_query(self, images: int) -> TrainingTokens:
        """The query that tracking asks, as a training example without labels."""
        ids = self.tokens(already_read=0, keyframes=images - 1)
        return TrainingTokens(ids, [NOT_A_LABEL] * len(ids), seg=len(ids) - 1)

    def image_places(self, ids: Sequence[int]) -> list[int]:
        """Where the tokens of each image begin in `ids`."""
        opened = self._image[0]
        return [place + 1 for place, token in enumerate(ids) if token == opened]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _single(self, token: str) -> int:
        ids = self._ids(token)
        if len(ids) != 1:
            raise CheckpointError(
                f"the tokenizer has no token {token!r} (it reads it as {len(ids)} pieces): "
                "use the tokenizer of the SeC checkpoint, not that of the plain language model"
            )
        return ids[0]

    def _check(self, vocabulary: int) -> None:
        pieces = self.tokens(already_read=0, keyframes=1)
        whole = self._ids(full_text(images=2))
        if whole[: len(pieces)] != pieces:
            raise CheckpointError(
                "the tokenizer merges text across the image tokens: use the tokenizer of the "
                "SeC checkpoint"
            )
        largest = max(pieces)
        if largest >= vocabulary:
            raise CheckpointError(
                f"the tokenizer has token {largest} but the language model has only {vocabulary} "
                "token embeddings: tokenizer and weights are of different checkpoints"
            )
