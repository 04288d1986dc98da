"""What is asked about one token is what the plain model answers to the whole prompt."""

import numpy as np
import pytest
import torch
from subject_cases import KINDS, hook_of, like, plain, read, run_changed, speller, spliced, subject, tokens
from torch import Tensor

from saebench.evidence.game.perturb import Perturber
from saebench.evidence.words.speller import Speller
from saebench.evidence.words.vocabulary import Split

torch.set_num_threads(1)

ASKED = [(a, kind) for a, kind in KINDS if kind in ("hook_resid_mid", "hook_embed", "attn.hook_z", "hook_mlp_out")]


@pytest.mark.parametrize("architecture, kind", ASKED)
def test_answers_are_those_of_the_plain_model(architecture: str, kind: str) -> None:
    hook, row = hook_of(kind, 1), tokens(1, 9)
    ask = Perturber(subject(architecture), hook, row.tolist())
    whole = read(architecture, kind, 1, row)
    torch.testing.assert_close(ask.x, whole[:, -1], rtol=1e-4, atol=1e-4)
    points = ask.x + 0.5 * like(torch.zeros(4, whole.shape[-1]) + ask.x)
    moved = torch.cat([torch.cat([whole[:, :-1], point[None, None]], dim=1) for point in points])
    each = [spliced(architecture, kind, 1, row, one[None])[0, -1] for one in moved]
    log_p = run_changed(plain(architecture), row)[0, -1].double().log_softmax(-1)
    expected = torch.stack([(log_p.exp() * (log_p - q.double().log_softmax(-1))).sum() for q in each])
    assert expected.max() > 1e-2
    torch.testing.assert_close(ask(0, points).kl.double(), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", ["hook_resid_post", "hook_resid_mid", "hook_mlp_out", "attn.hook_z", "hook_embed"])
def test_margins_are_those_of_the_plain_model(kind: str) -> None:
    made = speller(False, kind)
    test = np.flatnonzero(made.readings.split == Split.TEST)[:6]
    x = made.readings.x.flatten(0, 1)[made.row(test)]
    x = x + 0.5 * like(x)
    expected = torch.stack([plain_margin(made, int(word), point, kind) for word, point in zip(test, x, strict=True)])
    assert expected.std() > 0.1
    torch.testing.assert_close(made.margins(test, x), expected, rtol=1e-3, atol=1e-3)


def plain_margin(made: Speller, word: int, point: Tensor, kind: str) -> Tensor:
    """The logit of the word's own letter minus the mean of the others, after a whole prompt."""
    prefix = made.readings.prefix_tokens[int(made.row(np.array([word]))[0]) % 2]
    row = torch.tensor([[*prefix, made.readings.words[word].token, *made.suffix]])
    activation = read("gpt2", kind, 1, row).clone()
    activation[0, len(prefix)] = point
    logits = spliced("gpt2", kind, 1, row, activation)[0, -1, made.answers]
    own = int(made.readings.member[word].argmax())
    return logits[own] - (logits.sum() - logits[own]) / (len(logits) - 1)


def test_a_speller_of_a_centred_subject_gives_the_margins_of_the_raw_one() -> None:
    raw, centred = speller(False), speller(True)
    x = raw.readings.x
    torch.testing.assert_close(centred.readings.x, x - x.mean(-1, keepdim=True), rtol=1e-4, atol=1e-4)
    every = np.flatnonzero(raw.readings.split == Split.TEST)
    found, expected = (of.margins(every, of.readings.x.flatten(0, 1)[of.row(every)]) for of in (centred, raw))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    test = ~torch.isnan(raw.margin)
    assert test.equal(~torch.isnan(centred.margin))
    assert raw.margin[test].std() > 0.1
    torch.testing.assert_close(centred.margin[test], raw.margin[test], rtol=1e-3, atol=1e-3)
    assert (centred.right == raw.right).all()
    torch.testing.assert_close(centred.erased[test], raw.erased[test], rtol=1e-3, atol=1e-3)
