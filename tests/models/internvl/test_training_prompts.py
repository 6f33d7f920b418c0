"""The training examples of the language model, beside those of SeC's release."""

import itertools

import pytest
from safetensors.torch import load_file

from helpers.fixtures import facts, fixture
from segment_concept.models.internvl.prompt_template import (
    NOT_A_LABEL,
    TRAINING_ANSWERS,
    TRAINING_QUESTIONS,
    Conversation,
    training_text,
)

VOCABULARY = 263
PAIRS = list(itertools.product(TRAINING_QUESTIONS, TRAINING_ANSWERS))


@pytest.fixture
def conversation(tokenizer):
    return Conversation(tokenizer, VOCABULARY)


@pytest.mark.parametrize("number", [0, 1])
def test_ids_and_labels_are_those_of_the_release(conversation, number):
    golden = load_file(fixture("training/stage2_step.safetensors"))
    told = facts("training/stage2_step")["samples"][number]
    question = next(q for q in TRAINING_QUESTIONS if told["question"].startswith(q))
    answer = told["answer_with_loss"].removesuffix("<|im_end|>")
    example = conversation.training(len(told["references"]) + 1, question, answer)
    assert example.ids == golden[f"sample{number}_input_ids"].tolist()
    assert example.labels == golden[f"sample{number}_labels"].tolist()


def test_every_question_and_answer_of_the_release_is_known():
    told = facts("training/stage2_step")["distribution_over_600_draws"]
    answers = {n.removeprefix("answer ").removesuffix("<|im_end|>") for n in told if "answer" in n}
    assert answers == set(TRAINING_ANSWERS)
    asked = {name.removeprefix("question ") for name in told if name.startswith("question ")}
    assert {next(q for q in TRAINING_QUESTIONS if text.startswith(q)) for text in asked} == set(
        TRAINING_QUESTIONS
    )


@pytest.mark.parametrize(("question", "answer"), PAIRS)
def test_the_ids_of_every_pair_are_those_of_its_text(tokenizer, conversation, question, answer):
    example = conversation.training(3, question, answer)
    whole = tokenizer.encode(training_text(3, question, answer), add_special_tokens=False)
    assert example.ids == whole
    learnt = [label for label in example.labels if label != NOT_A_LABEL]
    assert tokenizer.decode(learnt) == answer + "<|im_end|>"
    assert example.label_count == len(learnt)
    assert tokenizer.decode(example.ids[example.seg : example.seg + 1]) == "[SEG]"


def test_the_query_that_tracking_asks_is_a_training_example_without_labels(conversation):
    example = conversation.training_query(4)
    assert example.ids == conversation.tokens(already_read=0, keyframes=3)
    assert example.seg == len(example.ids) - 1
    assert example.label_count == 0
