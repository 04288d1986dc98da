"""Answers to a moved activation are those of a whole pass with it put in, in every architecture, and nothing stays."""

from functools import cache
from typing import Any

import models
import pytest
import torch
from torch import Tensor

from saebench.evidence.game import perturb
from saebench.evidence.game.perturb import Perturber
from saebench.evidence.game.responses import Response
from saebench.record.score import Unscored
from saebench.subject.subject import Subject

torch.set_num_threads(1)
NAMES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "attn.hook_z")
LAST = models.LAYERS - 1
MIDDLE = "blocks.1.hook_resid_post"
LENGTHS = (7, 2, 40)
"""Of prompts: the first, on which skipping is tried, fits into no window of five tokens; others are longer."""
PRECISE = 1e-5


def drawn(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    found: list[int] = torch.randint(1, models.VOCABULARY, (length,), generator=generator).tolist()
    return found


PROMPTS = [drawn(length, seed) for seed, length in enumerate(LENGTHS)]


def moved(x: Tensor, count: int = 3, size: float = 0.5) -> Tensor:
    """Points (count, d) around an activation (d,), at distances that are shares of its norm."""
    noise = torch.nn.functional.normalize(torch.randn(count, len(x), generator=torch.Generator().manual_seed(3)), dim=1)
    return x + size * torch.linspace(0.2, 2, count)[:, None] * x.norm() * noise


def present() -> list[tuple[str, str]]:
    """Blocks of NeoX are parallel: nothing of the residual stream lies between attention and MLP."""
    both = [(architecture, name) for architecture in models.NETWORKS for name in NAMES]
    return [(architecture, name) for architecture, name in both if (architecture, name) != ("neox", "hook_resid_mid")]


@cache
def perturber(architecture: str, hook: str) -> Perturber:
    return Perturber(models.shared(architecture), hook, PROMPTS)


@torch.no_grad()
def spliced(model: Subject, hook: str, ids: list[int], point: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits and last residual stream after the last token of a whole pass without any memory, one point at a time."""
    stream: list[Tensor] = []

    def put(activation: Tensor) -> Tensor:
        changed = activation.clone()
        if point is not None:
            changed[:, -1] = point.reshape(changed[:, -1].shape)
        return changed

    def keep(activation: Tensor, hook: Any) -> None:
        stream.append(activation[0, -1])

    # That splices are right is tested in test_subjects.py, with hooks of transformers' own.
    hooks = [*model.splices(hook, put), (f"blocks.{LAST}.hook_resid_post", keep)]
    logits = model.bridge.run_with_hooks(torch.tensor([ids]), return_type="logits", fwd_hooks=hooks)
    return logits[0, -1].double(), stream[-1].double()


def expected(model: Subject, hook: str, ids: list[int], points: Tensor, centre: Tensor | None = None) -> Response:
    """The same answers by the definition, in double precision after the logits."""
    clean, before = spliced(model, hook, ids, centre)
    log_p = clean.log_softmax(-1)
    kl, l2 = [], []
    for point in points:
        logits, after = spliced(model, hook, ids, point)
        kl.append((log_p.exp() * (log_p - logits.log_softmax(-1))).sum())
        l2.append((after - before).norm())
    return Response(torch.stack(kl), torch.stack(l2))


def close(found: Response, wanted: Response, tolerance: float = PRECISE) -> bool:
    """To an absolute error where answers are small, and a relative one where they are large."""
    pairs = [(found.kl, wanted.kl), (found.l2, wanted.l2)]
    assert all(a.shape == b.shape for a, b in pairs)
    return all(bool(((a.double() - b.double()).abs() <= tolerance * (1 + b.abs())).all()) for a, b in pairs)


def same(found: Response, wanted: Response) -> bool:
    return found.kl.equal(wanted.kl) and found.l2.equal(wanted.l2)


# The same as the whole pass


@pytest.mark.parametrize("layer", [0, 1, LAST])
@pytest.mark.parametrize("architecture, name", present())
def test_answers_are_those_of_a_whole_pass(architecture: str, name: str, layer: int) -> None:
    model, hook = models.shared(architecture), f"blocks.{layer}.{name}"
    ask = perturber(architecture, hook)
    assert ask.start == layer
    for prompt, ids in enumerate(PROMPTS):
        points = moved(ask.x[prompt])
        wanted = expected(model, hook, ids, points)
        assert float(wanted.kl.max()) > 1e-3  # Or 1e-5 would mean nothing.
        assert close(ask(prompt, points), wanted)


@pytest.mark.parametrize("architecture, name", present())
def test_the_activation_is_that_of_the_last_token(architecture: str, name: str) -> None:
    model, hook = models.shared(architecture), f"blocks.{LAST}.{name}"
    for x, ids in zip(perturber(architecture, hook).x, PROMPTS, strict=True):
        assert torch.allclose(x, models.full(model, hook, torch.tensor([ids]))[0, -1], atol=1e-4)


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_answers_about_another_centre_are_against_that_centre(architecture: str) -> None:
    model, ask = models.shared(architecture), perturber(architecture, MIDDLE)
    for prompt, ids in enumerate(PROMPTS):
        centre = moved(ask.x[prompt], 1)[0]
        points = torch.cat([moved(centre), ask.x[prompt][None]])
        found = ask(prompt, points, centre)
        assert close(found, expected(model, MIDDLE, ids, points, centre))
        assert not close(found, ask(prompt, points), 1e-3)
        assert float(ask(prompt, centre[None], centre).kl) < 1e-9


def test_prompts_longer_than_the_window_are_right_although_the_first_is_shorter() -> None:
    """Skipping is tried on the first prompt only."""
    model, prompts = models.shared("gemma2-window"), [PROMPTS[0][:3], PROMPTS[2]]
    ask = Perturber(model, MIDDLE, prompts)
    for prompt, ids in enumerate(prompts):
        points = moved(ask.x[prompt])
        assert close(ask(prompt, points), expected(model, MIDDLE, ids, points))


def test_every_token_before_the_last_one_counts() -> None:
    ask = perturber("llama", MIDDLE)
    changed = [[1 + PROMPTS[0][0] % (models.VOCABULARY - 1), *PROMPTS[0][1:]], *PROMPTS[1:]]
    points = moved(ask.x[0])
    assert not close(ask(0, points), Perturber(models.shared("llama"), MIDDLE, changed)(0, points), 1e-3)


# What is run


@pytest.mark.parametrize("layer", range(models.LAYERS))
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_layers_before_the_hooks_do_not_run(architecture: str, layer: int) -> None:
    ask = perturber(architecture, f"blocks.{layer}.attn.hook_z")
    ask(0, ask.x[:1])
    ran = models.passes(ask.subject, lambda: ask(0, moved(ask.x[0])))
    assert ran == dict.fromkeys(range(layer, models.LAYERS), 1)


def test_tokens_before_the_last_one_run_once_per_prompt() -> None:
    ask = Perturber(models.shared("gpt2"), MIDDLE, PROMPTS)
    first = models.passes(ask.subject, lambda: ask(2, ask.x[2:]))
    again = models.passes(ask.subject, lambda: ask(2, ask.x[2:]))
    assert first[0] == 1
    assert again[0] == 0
    assert again[LAST] == 1
    shared = ask.some([2])
    assert models.passes(ask.subject, lambda: shared(0, ask.x[2:])) == again


# What must not count


@pytest.mark.parametrize("batch", [1, 3, 5])
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_batch_size_moves_nothing(architecture: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = perturber(architecture, MIDDLE)
    points = moved(ask.x[2], 8)
    whole = ask(2, points)
    monkeypatch.setattr(perturb, "BATCH", batch)
    assert close(ask(2, points), whole)
    assert close(ask(2, points.flip(0)), Response(whole.kl.flip(0), whole.l2.flip(0)))


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_order_of_prompts_and_a_choice_of_them_move_nothing(architecture: str) -> None:
    model, ask = models.shared(architecture), Perturber(models.shared(architecture), MIDDLE, PROMPTS)
    points = [moved(x) for x in ask.x]
    answers = [ask(prompt, points[prompt]) for prompt in (2, 0, 1)]
    wanted = {2: answers[0], 0: answers[1], 1: answers[2]}
    order = [1, 2, 0]
    others = (
        Perturber(model, MIDDLE, [PROMPTS[i] for i in order]), ask.some(order), ask.some([2, 0, 1]).some([2, 0, 1]),
        Perturber(model, MIDDLE, PROMPTS).some(order),
    )  # fmt: skip
    for other in others:
        assert [PROMPTS.index(list(ids)) for ids in other.prompts] == order
        assert other.x.equal(ask.x[order])
        assert all(same(other(k, points[i]), wanted[i]) for k, i in enumerate(order))
    assert all(same(ask(i, points[i]), wanted[i]) for i in range(3))


def test_a_choice_with_a_prompt_twice_has_it_twice() -> None:
    ask = perturber("gpt2", MIDDLE).some([1, 1, 0])
    points = moved(ask.x[0])
    assert same(ask(0, points), ask(1, points))
    assert not close(ask(1, points), ask(2, points), 1e-3)


# What is left behind


def hooks(model: Subject) -> list[tuple[str, int]]:
    """How many hooks every module has, inside the bridge and inside the model that it wraps."""
    modules = [*model.bridge.named_modules(), *model.bridge.original_model.named_modules()]
    return [(name, len(module._forward_hooks) + len(module._forward_pre_hooks)) for name, module in modules]


def clean(model: Subject, before: list[tuple[str, int]], logits: Tensor) -> bool:
    assert hooks(model) == before
    assert not any("forward" in vars(block) for block in model.bridge.blocks)
    assert not any("forward" in vars(block.original_component) for block in model.bridge.blocks)
    return model.logits(torch.tensor([PROMPTS[2]])).equal(logits)


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_nothing_is_left_behind(architecture: str) -> None:
    model = models.shared(architecture)
    before, logits = hooks(model), model.logits(torch.tensor([PROMPTS[2]]))
    ask = Perturber(model, f"blocks.{LAST}.hook_resid_pre", PROMPTS)
    ask(1, moved(ask.x[1]), ask.x[0])
    assert clean(model, before, logits)


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_nothing_is_left_behind_by_what_fails(architecture: str) -> None:
    model = models.shared(architecture)
    ask = perturber(architecture, f"blocks.{LAST}.hook_resid_pre")
    before, logits, answer = hooks(model), model.logits(torch.tensor([PROMPTS[2]])), ask(0, moved(ask.x[0]))
    with pytest.raises(RuntimeError):
        ask(0, torch.zeros(3, models.WIDTH + 1))

    def fail(*_: Any) -> None:
        raise RuntimeError("inside")

    handle = model.bridge.blocks[LAST].attn.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="inside"):
        ask(0, moved(ask.x[0]))
    handle.remove()
    assert clean(model, before, logits)
    assert same(ask(0, moved(ask.x[0])), answer)


def test_points_and_activations_are_not_written_to() -> None:
    ask = perturber("gpt2", "blocks.0.hook_resid_pre")
    points, x = moved(ask.x[0]), ask.x.clone()
    kept = points.clone()
    ask(0, points)
    assert points.equal(kept)
    assert ask.x.equal(x)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_answers_are_constants(architecture: str) -> None:
    """The bridge gives some frozen weights their gradients back."""
    with torch.enable_grad():
        ask = Perturber(models.shared(architecture), MIDDLE, PROMPTS)
        found = ask(0, moved(ask.x[0]))
    assert not any(each.requires_grad for each in (ask.x, found.kl, found.l2))


# Small answers


@pytest.mark.parametrize("layer", [0, LAST])
@pytest.mark.parametrize("architecture, name", present())
def test_the_activation_itself_is_no_move_and_no_answer_is_negative(architecture: str, name: str, layer: int) -> None:
    ask = perturber(architecture, f"blocks.{layer}.{name}")
    for prompt in range(len(PROMPTS)):
        x = ask.x[prompt]
        answer = ask(prompt, torch.cat([x[None], moved(x, 20, 1e-5), moved(x, 5)]))
        assert float(answer.kl[0]) < 1e-9
        assert float(answer.l2[0]) < 1e-4
        assert float(answer.kl.min()) >= 0


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_small_answers_grow_with_the_square_of_the_step(architecture: str) -> None:
    """Down to 1e-8; the difference of two tables of log-probabilities in single precision has a floor near 1e-6."""
    ask = perturber(architecture, MIDDLE)
    for prompt in range(len(PROMPTS)):
        x = ask.x[prompt]
        direction = moved(x, 1)[0] - x
        unit = float(ask(prompt, (x + 1e-3 * direction)[None]).kl) / 1e-6
        steps = torch.tensor([1e-8, 1e-7, 1e-6, 1e-5]).div(unit).sqrt()
        kl = ask(prompt, x + steps[:, None] * direction).kl.double()
        assert 5e-9 < float(kl[0]) < 2e-8
        assert torch.allclose(kl[1:] / kl[:-1], torch.full((3,), 10.0, dtype=torch.float64), rtol=0.1)


# Architectures that do not take it


def shortcut(missing: type[Exception] | None) -> Subject:
    """A model whose last block reads what the first one computed, and how it fails where that is not there."""
    model, left = models.subject("gpt2"), list[Tensor]()
    model.bridge.blocks[0].attn.register_forward_hook(lambda _, __, out: left.append(out[0]))

    def read(block: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not left and missing is not None:
            raise missing("the first block was not run")
        return (args[0] + (left.pop() if left else 0.0), *args[1:])

    model.bridge.blocks[LAST].register_forward_pre_hook(read)
    return model


@pytest.mark.parametrize("missing", [None, RuntimeError, AttributeError, IndexError])
def test_whole_passes_are_made_where_skipping_gives_other_logits(missing: type[Exception] | None) -> None:
    model = shortcut(missing)
    ask = Perturber(model, MIDDLE, PROMPTS)
    assert ask.start == 0
    for prompt, ids in enumerate(PROMPTS):
        points = moved(ask.x[prompt])
        assert close(ask(prompt, points), expected(model, MIDDLE, ids, points))


@pytest.mark.parametrize("hook", ["blocks.0.hook_resid_post", MIDDLE])
def test_a_model_that_takes_no_memory_is_refused(hook: str) -> None:
    """Its answers would be those to the last token alone."""
    model = models.subject("gpt2")

    def forget(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {k: v for k, v in kwargs.items() if k not in ("past_key_values", "use_cache")}

    model.bridge.register_forward_pre_hook(forget, with_kwargs=True)
    with pytest.raises((ValueError, Unscored)):
        Perturber(model, hook, PROMPTS)


# What cannot be asked


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ("blocks.1.hook_resid_pst", r"tiny-gpt2 has no hook 'blocks\.1\.hook_resid_pst'\. Did you mean 'blocks\.1\."),
        ("blocks.7.hook_resid_post", r"tiny-gpt2 has no hook 'blocks\.7\.hook_resid_post'"),
        ("ln_final.hook_normalized", r"hook 'ln_final\.hook_normalized' is not inside a block"),
    ],
)
def test_an_unknown_hook_is_one_sentence(hook: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        Perturber(models.shared("gpt2"), hook, PROMPTS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prompts", [[[3]], [PROMPTS[0], [3]]], ids=["alone", "among others"])
def test_a_prompt_of_one_token_is_answered_or_refused_in_a_sentence(prompts: list[list[int]]) -> None:
    model = models.shared("gpt2")
    sentence = None
    try:
        ask = Perturber(model, MIDDLE, prompts)
        points = moved(ask.x[-1])
        found = ask(len(prompts) - 1, points)
    except (ValueError, Unscored) as refused:
        sentence = str(refused)
    assert "token" in sentence if sentence else close(found, expected(model, MIDDLE, prompts[-1], points))


# Beside each other


@pytest.mark.parametrize("name", ["hook_resid_pre", "hook_resid_post", "hook_mlp_out", "attn.hook_z"])
@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_points_beside_each_other_are_answered_as_each_alone(
    architecture: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, hook = models.subject(architecture), f"blocks.1.{name}"
    alone = Perturber(model, hook, PROMPTS)
    monkeypatch.setattr("saebench.subject.prefix.LARGE", 0)
    beside = Perturber(model, hook, PROMPTS)
    assert not alone.abreast
    assert beside.abreast is (architecture != "gemma2-window" or len(PROMPTS[0]) <= models.WINDOW)
    for prompt in range(len(PROMPTS)):
        points = moved(alone.x[prompt], 7)
        assert close(beside(prompt, points), alone(prompt, points))
        monkeypatch.setattr(perturb, "ABREAST", 3)
        assert close(beside(prompt, points), alone(prompt, points))
