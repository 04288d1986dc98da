"""Reading a word after remembered keys and values is reading it in the whole prompt, in every architecture."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import models
import pytest
import torch
from torch import Tensor

from saebench.evidence.words.concepts import ConceptSet, Plan, prefixes
from saebench.evidence.words.readings import Readings, read_words
from saebench.evidence.words.vocabulary import WordFilter, words_of
from saebench.subject import prefix
from saebench.subject.prefix import after_prefix, remember, repeated
from saebench.subject.subject import Subject

HOOKS = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z")
LAST = models.LAYERS - 1
PREFIX, TOKENS = 12, 9
TEMPLATE = "{word} has the first letter: {concept}"
LEADING = "The word{word} has the first letter: {concept}"


def drawn(rows: int, positions: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, models.VOCABULARY, (rows, positions), generator=generator)


def whole(prefix: Tensor, tokens: Tensor) -> Tensor:
    """Prompts that go on after the word, since SAEBench's do and nothing of that may be read."""
    return torch.cat([prefix.expand(len(tokens), -1), tokens, drawn(len(tokens), 4, seed=2)], dim=1)


def close(x: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    assert x.shape == expected.shape
    return float((x - expected).abs().max()) < tolerance


# The same as the full pass


def present() -> list[tuple[str, str]]:
    """Blocks of NeoX are parallel: nothing of the residual stream lies between attention and MLP."""
    both = [(architecture, hook) for architecture in models.NETWORKS for hook in HOOKS]
    return [(architecture, hook) for architecture, hook in both if (architecture, hook) != ("neox", "hook_resid_mid")]


@cache
def everything(architecture: str) -> Any:
    """Activations at all hooks in one pass over the prompts."""
    return models.shared(architecture).bridge.run_with_cache(whole(drawn(1, PREFIX), drawn(TOKENS, 1)))[1]


@pytest.mark.parametrize("layer", range(models.LAYERS))
@pytest.mark.parametrize("architecture, name", present())
def test_equals_the_pass_over_the_whole_prompt(architecture: str, name: str, layer: int) -> None:
    model, hook = models.shared(architecture), f"blocks.{layer}.{name}"
    expected = everything(architecture)[hook][:, PREFIX].flatten(1)
    assert expected.shape == (TOKENS, models.WIDTH)
    assert float(expected.std()) > 0.1  # Or 1e-4 would mean nothing.
    assert close(after_prefix(model, hook, drawn(1, PREFIX), drawn(TOKENS, 1)), expected)


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_equals_what_transformers_computes(architecture: str) -> None:
    prefix, tokens = drawn(1, PREFIX), drawn(TOKENS, 1)
    states = models.network(architecture)(whole(prefix, tokens), output_hidden_states=True).hidden_states
    found = after_prefix(models.shared(architecture), f"blocks.{LAST - 1}.hook_resid_post", prefix, tokens)
    assert close(found, states[LAST][:, PREFIX])


@pytest.mark.parametrize("length", [1, models.WINDOW - 1, models.WINDOW, models.WINDOW + 1, 40])
@pytest.mark.parametrize("architecture", ["gpt2", "gemma2-window"])
def test_prefixes_of_any_length(architecture: str, length: int) -> None:
    model, hook = models.shared(architecture), f"blocks.{LAST}.hook_resid_post"
    prefix, tokens = drawn(1, length), drawn(TOKENS, 1)
    assert close(after_prefix(model, hook, prefix, tokens), models.full(model, hook, whole(prefix, tokens))[:, length])


@pytest.mark.parametrize("architecture, seen", [("gemma2", True), ("gemma2-window", False)])
def test_first_layer_sees_what_the_window_shows(architecture: str, seen: bool) -> None:
    """The model with a window has one: without this, the tests above would say nothing about windows."""
    assert moved_by_changing(0, models.shared(architecture), "blocks.0.hook_resid_post") is seen
    assert moved_by_changing(0, models.shared(architecture), f"blocks.{LAST}.hook_resid_post")


def moved_by_changing(position: int, model: Subject, hook: str) -> bool:
    prefix, tokens = drawn(1, PREFIX), drawn(TOKENS, 1)
    changed = prefix.clone()
    changed[0, position] = 1 + changed[0, position] % (models.VOCABULARY - 1)
    return not close(after_prefix(model, hook, prefix, tokens), after_prefix(model, hook, changed, tokens), 1e-3)


@pytest.mark.parametrize("position", [0, PREFIX // 2, PREFIX - 1])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "neox", "gemma2"])
def test_every_token_of_the_prefix_counts(architecture: str, position: int) -> None:
    assert moved_by_changing(position, models.shared(architecture), "blocks.1.hook_resid_post")


# What must not count


@pytest.mark.parametrize("batch", [1, 7, 512])
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_batch_size_moves_nothing(architecture: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, hook = models.shared(architecture), "blocks.1.hook_resid_post"
    monkeypatch.setattr(prefix, "BATCH", batch)
    found = after_prefix(model, hook, drawn(1, PREFIX), drawn(TOKENS, 1))
    assert close(found, everything(architecture)[hook][:, PREFIX])


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_other_words_and_their_order_move_nothing(architecture: str) -> None:
    model, prefix, tokens = models.shared(architecture), drawn(1, PREFIX), drawn(TOKENS, 1)
    read = after_prefix(model, "blocks.1.hook_resid_post", prefix, tokens)
    for order in (list(reversed(range(TOKENS))), [3, 0, 3], [5]):
        assert close(after_prefix(model, "blocks.1.hook_resid_post", prefix, tokens[order]), read[order])


@pytest.mark.parametrize("layer", range(models.LAYERS))
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_later_layers_do_not_run(architecture: str, layer: int) -> None:
    model, prefix, tokens = models.shared(architecture), drawn(1, PREFIX), drawn(TOKENS, 1)
    ran = models.passes(model, lambda: after_prefix(model, f"blocks.{layer}.hook_attn_out", prefix, tokens))
    assert ran == dict.fromkeys(range(layer + 1), 2)  # One pass over the prefix, one over the words.
    assert models.passes(model, lambda: model.bridge(prefix)) == dict.fromkeys(range(models.LAYERS), 1)


# The memory


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_memory_is_a_constant(architecture: str) -> None:
    """The bridge gives some frozen weights their gradients back, and tensors that have a history cannot be copied."""
    with torch.enable_grad():
        memory = remember(models.shared(architecture), drawn(1, PREFIX))
    assert not any(layer.keys.requires_grad or layer.values.requires_grad for layer in memory.layers)


class Forgetful:
    """A bridge that hands keys and values to no layer, as transformer-lens 3.9 does with transformers 5.24."""

    def __init__(self, bridge: Any) -> None:
        self.bridge = bridge

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bridge, name)

    def __call__(self, tokens: Tensor, past_key_values: Any, **options: Any) -> Any:
        return self.bridge(tokens, **options)


def test_libraries_that_forget_the_prefix_are_named_before_a_word_is_read() -> None:
    model = models.shared("gpt2")
    with pytest.raises(ValueError, match=r"transformer-lens .* and transformers .*pip install 'transformers<5.24'"):
        remember(replace(model, bridge=Forgetful(model.bridge)), drawn(1, PREFIX))


@torch.no_grad()
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_use_does_not_change_the_memory(architecture: str) -> None:
    model, tokens = models.shared(architecture), drawn(TOKENS, 1)
    memory = remember(model, drawn(1, PREFIX))
    before = [(layer.keys.clone(), layer.values.clone()) for layer in memory.layers]
    for _ in range(2):
        model.bridge(tokens, past_key_values=repeated(memory, TOKENS), use_cache=True)
    assert memory.get_seq_length() == PREFIX
    for layer, (keys, values) in zip(memory.layers, before, strict=True):
        assert layer.keys.equal(keys)
        assert layer.values.equal(values)


@torch.no_grad()
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_a_batch_of_words_shares_the_memory_of_its_prefix(architecture: str) -> None:
    """Else keys and values of a prefix would take a gigabyte for a few hundred words of a small model."""
    memory = remember(models.shared(architecture), drawn(1, PREFIX))
    copies = repeated(memory, 1000)
    for layer, copied in zip(memory.layers, copies.layers, strict=True):
        for one, many in ((layer.keys, copied.keys), (layer.values, copied.values)):
            assert many.shape == (1000, *one.shape[1:])
            assert many[[0, 999]].equal(one.expand(2, *one.shape[1:]))
            assert many.untyped_storage().nbytes() == one.untyped_storage().nbytes()
            assert many.untyped_storage().data_ptr() != one.untyped_storage().data_ptr()


# From text to activations


def read(model: Subject, plan: Plan, hook: str = "blocks.1.hook_resid_post") -> Readings:
    without: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())
    return read_words(model, hook, plan, without)


def plan_for(template: str = TEMPLATE, count: int = 2) -> Plan:
    return Plan(ConceptSet("letters", template, {}), WordFilter(shortest=3), count, 3)


@cache
def reader(architecture: str, kind: str) -> Subject:
    texts = [*models.spaced(models.WORDS), " has", " the", " first", " letter", "The", " word"]
    return models.subject(architecture, models.TOKENIZERS[kind](texts))


def in_text(model: Subject, text: str, start: int, end: int, hook: str) -> Tensor:
    """Activation at the only token that covers the characters from `start` to `end`, in a pass over the whole text."""
    encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    (at,) = [i for i, (low, high) in enumerate(encoded["offset_mapping"]) if low < end and high > start]
    tokens = torch.tensor([[model.tokenizer.bos_token_id, *encoded["input_ids"]]])
    return models.full(model, hook, tokens)[0, at + 1]


@pytest.mark.parametrize("kind", models.TOKENIZERS)
@pytest.mark.parametrize("template", [TEMPLATE, LEADING], ids=["word-first", "word-later"])
def test_words_are_read_where_they_stand_in_the_text(template: str, kind: str) -> None:
    model, plan = reader("llama", kind), plan_for(template)
    result = read(model, plan)
    texts, _ = prefixes(plan.concepts, words_of(model.tokenizer, plan.filter), plan.prefixes, plan.examples)
    for row in range(0, len(result.words), len(result.words) // 5):
        word = result.words[row]
        for column, text in enumerate(texts):
            start = len(text) + template.index("{word}")
            prompt = text + plan.concepts.query(word)
            expected = in_text(model, prompt, start, start + len(word.text), result.hook)
            assert close(result.x[row, column], expected)


@pytest.mark.parametrize("hook", ["blocks.0.hook_mlp_out", "blocks.1.hook_resid_pre", "blocks.1.attn.hook_z"])
def test_words_are_read_at_the_hook_that_is_asked_for(hook: str) -> None:
    model = reader("gpt2", "byte-level")
    result = read(model, plan_for(count=1), hook)
    tokens = torch.tensor([[*result.prefix_tokens[0], word.token] for word in result.words])
    assert result.hook == hook
    assert close(result.x[:, 0], models.full(model, hook, tokens)[:, -1])
    assert not close(result.x, read(model, plan_for(count=1)).x, 0.1)


def test_unknown_hook_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'blocks\.1\.hook_resid_post'"):
        read(models.shared("gpt2"), plan_for(), "blocks.1.hook_resid_pst")


@pytest.mark.parametrize("other", [{"hook": "blocks.0.hook_resid_post"}, {"plan": plan_for(count=1)}])
def test_cache_tells_hooks_and_plans_apart(other: dict[str, Any]) -> None:
    asked: list[dict[str, Any]] = []
    model = reader("gpt2", "byte-level")
    cache: Any = SimpleNamespace(get=lambda inputs, compute, **_: asked.append(inputs) or compute())
    for change in ({}, {}, other):
        options = {"hook": "blocks.1.hook_resid_post", "plan": plan_for()} | change
        read_words(model, options["hook"], options["plan"], cache)
    assert asked[0] == asked[1] != asked[2]


def test_every_word_has_a_reading_of_its_own() -> None:
    result = read(reader("gpt2", "byte-level"), plan_for(count=1))
    assert len({tuple(x.tolist()) for x in result.x[:, 0]}) == len(result.words)


# Beside each other


def seen_shapes(model: Subject, run: Callable[[], object]) -> set[tuple[int, int]]:
    """Shapes of the token ids that passes are given."""
    shapes = set[tuple[int, int]]()
    handle = model.bridge.embed.register_forward_pre_hook(lambda module, args: shapes.add(tuple(args[0].shape)))
    run()
    handle.remove()
    return shapes


@pytest.mark.parametrize("layer", range(models.LAYERS))
@pytest.mark.parametrize("architecture, name", present())
def test_words_beside_each_other_do_not_see_each_other(
    architecture: str, name: str, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix, "LARGE", 0)
    model, hook = models.shared(architecture), f"blocks.{layer}.{name}"
    expected = everything(architecture)[hook][:, PREFIX].flatten(1)
    assert close(after_prefix(model, hook, drawn(1, PREFIX), drawn(TOKENS, 1)), expected)


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_they_are_put_there_where_that_gives_the_same(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, hook = models.shared(architecture), f"blocks.{LAST}.hook_resid_post"

    def run() -> object:
        return after_prefix(model, hook, drawn(1, PREFIX), drawn(TOKENS, 1))

    monkeypatch.setattr(prefix, "TRIED", 2)
    assert (1, TOKENS) not in seen_shapes(model, run)
    monkeypatch.setattr(prefix, "LARGE", 0)
    assert PREFIX >= models.WINDOW
    assert ((1, TOKENS) in seen_shapes(model, run)) is (architecture != "gemma2-window")


@pytest.mark.parametrize("some", [1, 2, 5])
def test_how_many_go_beside_each_other_moves_nothing(some: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "LARGE", 0)
    model, hook = models.shared("llama"), "blocks.1.hook_resid_post"
    monkeypatch.setattr(prefix, "ABREAST", some)
    found = after_prefix(model, hook, drawn(1, PREFIX), drawn(TOKENS, 1))
    assert close(found, everything("llama")[hook][:, PREFIX])
