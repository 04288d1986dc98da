"""Questions as tokens: answers are those of the plain model, token by token."""

import math

import models
import pytest
import torch

from saebench.record.questions import Question
from saebench.subject.posed import Posed, pose

torch.set_num_threads(1)
WORDS = "ann has a dog cat cow and bob big red one two".split()
QUESTIONS = (
    Question("ann has a", "dog", ("cat", "cow")),
    Question("ann has a dog and bob has a", "big dog", ("big cat", "red cow one two")),
    Question("ann has a dog and", "bob has"),
    Question("bob has a", "cow"),
)
"""Told by the first token, by all of them, and final words."""


@pytest.fixture(scope="module")
def model():
    return models.subject("gpt2", models.byte_level([f" {word}" for word in WORDS] + WORDS))


def log_p(model, before: list[int], then: list[int]) -> tuple[float, bool]:
    """Of a continuation, by plain passes of the model, one for each token; and whether each is the likeliest."""
    total, greedy = 0.0, True
    for i, token in enumerate(then):
        ids = torch.tensor([before + then[:i]])
        logits = model.bridge.original_model(ids).logits[0, -1].detach()
        total += float(logits.log_softmax(-1)[token])
        greedy = greedy and int(logits.argmax()) == token
    return total, greedy


def marks(model, posed: Posed):
    logits = torch.cat([
        model.logits(posed.tokens[row : row + 1])[0, position : position + 1]
        for row, position in zip(posed.row.tolist(), posed.position.tolist(), strict=True)
    ])  # fmt: skip
    terms = logits.log_softmax(-1)[posed.point, posed.token]
    return posed.marks(terms, logits.argmax(-1))


def test_answers_are_those_of_the_plain_model(model) -> None:
    posed = pose("x", QUESTIONS, model.tokenizer, model.n_ctx)
    found = marks(model, posed)
    ids = lambda text: model.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    for i, question in enumerate(QUESTIONS):
        before = [model.tokenizer.bos_token_id, *ids(question.passage)]
        options = [ids(f" {option}") for option in question.options]
        apart = len({option[0] for option in options}) == len(options) > 1
        scores = [log_p(model, before, option[:1] if apart else option) for option in options]
        if question.others:
            among = scores[0][0] - math.log(sum(math.exp(score) for score, _ in scores))
            assert found.right[i] == (scores[0][0] > max(score for score, _ in scores[1:]))
        else:
            among = scores[0][0]
            assert found.right[i] == scores[0][1]
        assert found.log_p[i] == pytest.approx(among, abs=1e-4)
        assert posed.passage[i] == len(before)


def test_rows_that_begin_alike_are_one(model) -> None:
    posed = pose("x", QUESTIONS, model.tokenizer, model.n_ctx)
    texts = [model.tokenizer.decode(row[:n]) for row, n in zip(posed.tokens, posed.length, strict=True)]
    # One for the first question and the third, which are the beginning of the second.
    assert len(texts) == len({*texts})
    assert not any(a != b and b.startswith(a) for a in texts for b in texts)


def test_what_is_the_likeliest_by_nothing_is_wrong(model) -> None:
    posed = pose("x", QUESTIONS[:1], model.tokenizer, model.n_ctx)
    equal = torch.zeros(len(posed.token))
    assert not posed.marks(equal, torch.zeros(1, dtype=torch.long)).right[0]
    equal[0] = 1e-6
    assert posed.marks(equal, torch.zeros(1, dtype=torch.long)).right[0]


def test_what_is_too_long_is_counted(model) -> None:
    posed = pose("x", QUESTIONS, model.tokenizer, 8)
    assert posed.refused == 1
    assert len(posed.questions) == 3
    assert posed.context <= 8
    with pytest.raises(ValueError, match="each of its 4 passages takes more than 2 tokens"):
        pose("x", QUESTIONS, model.tokenizer, 2)


def test_the_name_is_of_what_is_asked(model) -> None:
    names = {
        pose("x", questions, model.tokenizer, 32).name for questions in (QUESTIONS, QUESTIONS[:2], QUESTIONS[::-1])
    }
    assert len(names) == 3
