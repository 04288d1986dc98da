"""Passes that begin at the name give what whole passes of the plain model give."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saebench.evidence.entities.asked import Asked, Part, ask
from saebench.evidence.entities.facts import load_facts
from saebench.evidence.entities.gradients import gradients, read_gradients
from saebench.evidence.entities.patching import tally
from saebench.evidence.entities.question import PAD
from saebench.record.score import Unscored
from saebench.subject.cache import Cache
from saebench.subject.subject import Subject, load_subject

HOOKS = ("blocks.1.hook_resid_post", "blocks.2.hook_resid_pre", "blocks.1.hook_mlp_out", "blocks.3.hook_resid_post")


@cache
def organism() -> Subject:
    return load_subject("organism")


@cache
def asked(hook: str = HOOKS[0], name: str = "towns") -> Asked:
    with TemporaryDirectory() as folder:
        return ask(organism(), load_facts(name), hook, hook, Cache(Path(folder)))


def whole(asked: Asked, question: int, entities: list[int], x: Tensor | None = None) -> Tensor:
    """Logits (n, value) of whole prompts, by transformers alone, with x (n, site, d) put in behind the second block."""
    one, model = asked.questions[question], asked.questions[question].subject.bridge.original_model
    names = asked.tokens[question][entities]
    tokens = torch.cat([one.prefix.expand(len(names), -1), names, one.suffix.expand(len(names), -1)], dim=1)

    def put(module: Any, args: Any, out: Any) -> Any:
        hidden = out[0] if isinstance(out, tuple) else out
        changed = hidden.clone()
        assert x is not None
        changed[:, len(one.prefix) : len(one.prefix) + one.sites] = x
        return (changed, *out[1:]) if isinstance(out, tuple) else changed

    handle = model.transformer.h[1].register_forward_hook(put) if x is not None else None
    with torch.no_grad():
        found: Tensor = model(tokens).logits[:, -1][:, one.answers]
    if handle is not None:
        handle.remove()
    return found


@pytest.mark.parametrize("question", [0, 3, 4])
def test_a_short_pass_gives_what_the_plain_model_gives(question: int) -> None:
    found, base, source = asked(), [0, 5, 9], [3, 2, 40]
    one = found.questions[question]
    assert one._short
    x = found.target[question][source]
    patched = one.logits(found.tokens[question][base], found.entering[question][base], x)
    torch.testing.assert_close(patched, whole(found, question, base, x), rtol=1e-4, atol=1e-3)
    clean = one.logits(found.tokens[question][base], found.entering[question][base], found.target[question][base])
    torch.testing.assert_close(clean, whole(found, question, base), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("hook", HOOKS[1:])
def test_at_any_hook_nothing_changes_where_nothing_is_patched(hook: str) -> None:
    found = asked(hook)
    one = found.questions[0]
    assert one._short
    clean = one.logits(found.tokens[0][:4], found.entering[0][:4], found.target[0][:4])
    torch.testing.assert_close(clean, whole(found, 0, [0, 1, 2, 3]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["towns", "people"])
def test_the_organism_knows_its_world_and_the_whole_activation_carries_all_of_it(name: str) -> None:
    found = asked(name=name)
    assert found.right.mean() > 0.9
    sums = tally(
        found, lambda question, patched, base, source: found.target[question][source][None], *found.pairs(Part.TEST, 12)
    )[0]
    total = {what: values.sum() for what, values in sums.items()}
    assert total["changed"] > 0.95 * total["asked"] > 0
    assert total["kept"] < 0.05 * total["others"]


def test_gradients_are_those_of_differences() -> None:
    """To first order, a small step changes the margin by the gradient times the step."""
    found = asked()
    made = read_gradients(found, gradients(found, 2))
    base, source, slope = made.base[0], made.source[0], made.slope[0]
    x, one = found.target[0], found.questions[0]
    value = torch.from_numpy(found.value[:, 0])

    def margin(share: float) -> Tensor:
        at = x[base] + share * (x[source] - x[base])
        logits = one.logits(found.tokens[0][base], found.entering[0][base], at)
        return logits.gather(1, value[source][:, None])[:, 0] - logits.gather(1, value[base][:, None])[:, 0]

    step = 1e-2
    steps = [(margin(at + step) - margin(at - step)) / (2 * step) for at in (0.25, 0.75)]
    along = ((x[source] - x[base]) * slope).sum(dim=(1, 2))
    torch.testing.assert_close(along, sum(steps) / 2, rtol=0.05, atol=0.1)


def test_parts_and_pairs_are_of_names() -> None:
    found = asked()
    assert np.bincount(found.part).tolist() == [42, 17, 25]
    base, source = found.pairs(Part.TEST, 40)
    assert (base != source).all()
    assert set(found.part[base]) | set(found.part[source]) == {Part.TEST}
    assert len({*zip(base.tolist(), source.tolist(), strict=True)}) == 40
    more = found.pairs(Part.TEST, 70)
    assert (more[0][:40] == base).all()
    assert (more[1][:40] == source).all()


def test_a_model_that_lacks_the_names_is_not_asked(tmp_path: Path) -> None:
    facts = load_facts("towns")
    few = replace(facts, values={name: facts.values[name] for name in list(facts.values)[:10]})
    with pytest.raises(Unscored, match="of the names of towns, 10 are tokens of organism of their own: fewer than 20"):
        ask(organism(), few, HOOKS[0], HOOKS[0], Cache(tmp_path))


def named_twice() -> Asked:
    """Towns of which every third has a name of two tokens, the first of them another town's."""
    facts = load_facts("towns")
    names = list(facts.values)
    values = {
        (f"{names[number - 1]} {name}" if number % 3 == 2 else name): facts.values[name]
        for number, name in enumerate(names)
    }
    with TemporaryDirectory() as folder:
        return ask(organism(), replace(facts, values=values), HOOKS[0], HOOKS[0], Cache(Path(folder)))


def test_names_of_several_tokens_are_patched_at_their_last_one() -> None:
    found, base, source = named_twice(), [1, 2, 5, 6], [4, 9, 3, 8]
    one = found.questions[0]
    assert (found.tokens[0] == PAD).any(dim=1).tolist()[:6] == [True, True, False, True, True, False]
    patched = one.logits(found.tokens[0][base], found.entering[0][base], found.target[0][source])
    for row, (b, s) in enumerate(zip(base, source, strict=True)):
        torch.testing.assert_close(patched[row], by_hand(found, b, found.target[0][s]), rtol=1e-4, atol=1e-3)
    clean = [by_hand(found, entity, found.target[0][entity]).argmax() for entity in range(12)]
    assert (np.array(clean) == found.value[:12, 0]).tolist() == found.right[0][:12].tolist()


def by_hand(asked: Asked, entity: int, x: Tensor) -> Tensor:
    """Logits of one whole prompt by transformers alone, with x (site, d) from the last token of the name on."""
    one, model = asked.questions[0], asked.questions[0].subject.bridge.original_model
    own = asked.tokens[0][entity]
    name = own[own != PAD]
    tokens = torch.cat([one.prefix, name, one.suffix])[None]
    at = len(one.prefix) + len(name) - 1

    def put(module: Any, args: Any, out: Any) -> Any:
        changed = (out[0] if isinstance(out, tuple) else out).clone()
        changed[0, at : at + len(x)] = x
        return (changed, *out[1:]) if isinstance(out, tuple) else changed

    handle = model.transformer.h[1].register_forward_hook(put)
    with torch.no_grad():
        found: Tensor = model(tokens).logits[0, -1][one.answers]
    handle.remove()
    return found


def test_only_what_the_model_knows_best_is_kept_where_the_facts_say_so(tmp_path: Path) -> None:
    facts, every = replace(load_facts("towns"), known=30), asked()
    found = ask(organism(), facts, HOOKS[0], HOOKS[0], Cache(tmp_path))
    best = np.sort(np.argsort(-every.right.mean(axis=0), kind="stable")[:30])
    assert found.names == tuple(np.array(every.names)[best])
    assert (found.right == every.right[:, best]).all()
    torch.testing.assert_close(found.target[0], every.target[0][best])
