"""The organism's language model: a small GPT-2 with learned absolute positions, trained on the world."""

import hashlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from saebench.organism.world import PERSISTENT, RECALLING, TRAINING, Mixture, World
from saebench.zoo.tokenizer import load_tokenizer

CONTEXT = 256
SEED = 0


@dataclass(frozen=True)
class Stage:
    """A cosine of the learning rate, after a linear warm-up, over one mixture of documents."""

    mixture: Mixture
    steps: int
    lr: float
    lr_end: float = 1e-4
    warmup: int = 100

    def learning_rate(self, step: int) -> float:
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / (self.steps - self.warmup)
        return self.lr_end + (self.lr - self.lr_end) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Recipe:
    """Spelling first, then context, then recall.

    Small batches matter: the first letter of words is learnt four times later with batches four times larger.
    """

    d_model: int = 192
    n_layer: int = 4
    n_head: int = 6
    contexts_per_step: int = 6
    stages: tuple[Stage, ...] = (
        Stage(TRAINING, 8000, 2e-3),
        Stage(PERSISTENT, 4000, 1.5e-3),
        Stage(RECALLING, 4000, 1.5e-3),
    )
    weight_decay: float = 0.05
    checkpoint_every: int = 500


def batches(world: World, folder: Path, split: str, mixture: Mixture, size: int, start: int = 0) -> Iterator[Tensor]:
    """Endless batches (size, CONTEXT) of one document each, BOS first; batch `i` depends on nothing but `i`."""
    tokenizer = load_tokenizer(folder)
    while True:
        texts = [world.document(f"{split}/{start * size + i}", mixture).text for i in range(size)]
        ids = tokenizer(texts, truncation=True, max_length=CONTEXT)["input_ids"]
        yield torch.tensor(ids)
        start += 1


def train_lm(world: World, folder: Path, work: Path, recipe: Recipe | None = None) -> None:
    """Train from nothing, or go on from the last checkpoint in `work`, and save to `folder`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    recipe = recipe or Recipe()
    torch.manual_seed(SEED)
    bos = load_tokenizer(folder).bos_token_id
    config = GPT2Config(
        vocab_size=len(load_tokenizer(folder)), n_positions=CONTEXT, n_embd=recipe.d_model, n_layer=recipe.n_layer,
        n_head=recipe.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=bos, eos_token_id=bos,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(_parameter_groups(model, recipe), lr=0.0, betas=(0.9, 0.95))
    checkpoint = work / f"lm-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]}.pt"
    done = _resume(checkpoint, model, optimizer)
    first = 0
    for stage in recipe.stages:
        steps = range(max(done, first), first + stage.steps)
        data = batches(world, folder, "train", stage.mixture, recipe.contexts_per_step, start=steps.start)
        _train_stage(model, optimizer, data, steps, first, stage, recipe, checkpoint)
        first += stage.steps
    model.save_pretrained(folder)


def _train_stage(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[Tensor], steps: range, first: int,
    stage: Stage, recipe: Recipe, checkpoint: Path,
) -> None:  # fmt: skip
    begun = time.time()
    for step in steps:
        loss = _train_step(model, optimizer, next(data), stage.learning_rate(step - first))
        if (step + 1) % 100 == 0:
            rate = (step + 1 - steps.start) * recipe.contexts_per_step * CONTEXT / (time.time() - begun)
            print(f"lm: step {step + 1}, loss {loss:.3f}, {rate:.0f} tokens/s", flush=True)
        if (step + 1) % recipe.checkpoint_every == 0:
            _checkpoint(checkpoint, model, optimizer, step + 1)


def _parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _train_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tokens: Tensor, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(tokens).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _checkpoint(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def _resume(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"lm: going on from step {state['step']}", flush=True)
    return int(state["step"])
