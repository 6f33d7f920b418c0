"""SeC's prompt template, as token ids up to and including [SEG].

Qwen's chat format without a system turn. `It is [SEG].` is part of the user turn, as published.
Tokens after [SEG] cannot change its hidden state (attention is causal) and are not computed.
"""

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


class Tokenizer(Protocol):
    """The part of transformers' tokenizers that is used."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of `text`."""
        ...


def full_text(images: int) -> str:
    """The whole published prompt for `images` images, including the query."""
    image = IMAGE_OPEN + IMAGE_TOKEN * TOKENS_PER_IMAGE + IMAGE_CLOSE
    return OPENING + BETWEEN_IMAGES.join([image] * images) + QUESTION + ANSWER + TURN_END


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
        seg = self._single(SEG)
        self._opening = self._ids(OPENING)
        self._between = self._ids(BETWEEN_IMAGES)
        self._image = (
            [self._single(IMAGE_OPEN)]
            + [self.image_token] * TOKENS_PER_IMAGE
            + [self._single(IMAGE_CLOSE)]
        )
        tail = self._ids(QUESTION + ANSWER)
        self._question = tail[: tail.index(seg) + 1]
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
