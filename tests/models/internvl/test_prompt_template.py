import pytest

from segment_concept.models.internvl.prompt_template import Conversation, full_text
from segment_concept.types import CheckpointError

VOCABULARY = 263


class WithoutSeg:
    """A tokenizer that has never heard of [SEG]."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def encode(self, text, *, add_special_tokens):
        spelt = text.replace("[SEG]", "[ SEG ]")
        return self._tokenizer.encode(spelt, add_special_tokens=add_special_tokens)


class MergesAcross(WithoutSeg):
    """A tokenizer that swallows the line break between two pictures."""

    def encode(self, text, *, add_special_tokens):
        joined = text.replace("</img>\n<img>", "</img><img>")
        return self._tokenizer.encode(joined, add_special_tokens=add_special_tokens)


def test_the_tokens_are_those_of_the_whole_text_cut_after_seg(tokenizer):
    conversation = Conversation(tokenizer, VOCABULARY)
    for keyframes in (1, 3, 7):
        whole = tokenizer.encode(full_text(keyframes + 1), add_special_tokens=False)
        ours = conversation.tokens(already_read=0, keyframes=keyframes)
        assert ours == whole[: len(ours)]
        assert tokenizer.decode(ours[-1:]) == "[SEG]"


def test_a_prefix_and_what_is_still_to_read_make_the_whole(tokenizer):
    conversation = Conversation(tokenizer, VOCABULARY)
    whole = conversation.tokens(already_read=0, keyframes=4)
    for already in (1, 2, 4):
        start = conversation.prefix_length(already)
        assert whole[start:] == conversation.tokens(already_read=already, keyframes=4)
    assert conversation.prefix_length(0) == 0


def test_a_tokenizer_without_seg_is_refused(tokenizer):
    with pytest.raises(CheckpointError, match=r"no token '\[SEG\]'.*of the SeC checkpoint"):
        Conversation(WithoutSeg(tokenizer), VOCABULARY)


def test_a_tokenizer_that_joins_pictures_is_refused(tokenizer):
    with pytest.raises(CheckpointError, match="merges text across"):
        Conversation(MergesAcross(tokenizer), VOCABULARY)


def test_a_tokenizer_of_another_vocabulary_is_refused(tokenizer):
    with pytest.raises(CheckpointError, match=r"token 262 .* only 200"):
        Conversation(tokenizer, vocabulary=200)
