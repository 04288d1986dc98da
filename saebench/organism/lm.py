"""The organism's language model: a small GPT-2 with learned absolute positions, trained on the world."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from saebench.organism.tokenizer import load_tokenizer
from saebench.organism.world import TRAINING, Mixture, World

CONTEXT = 256
SEED = 0


@dataclass(frozen=True)
class Recipe:
    """Small batches matter: the first letter of words is learnt four times later with batches four times larger."""

    d_model: int = 192
    n_layer: int = 4
    n_head: int = 6
    contexts_per_step: int = 6
    steps: int = 7000
    lr: float = 2e-3
    lr_end: float = 1e-4
    warmup: int = 100
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
    optimizer = torch.optim.AdamW(_parameter_groups(model, recipe), lr=recipe.lr, betas=(0.9, 0.95))
    step = _resume(work / "lm.pt", model, optimizer)
    data = batches(world, folder, "train", TRAINING, recipe.contexts_per_step, start=step)
    begun, first = time.time(), step
    while step < recipe.steps:
        loss = _train_step(model, optimizer, next(data), _learning_rate(step, recipe))
        step += 1
        if step % 100 == 0:
            rate = (step - first) * recipe.contexts_per_step * CONTEXT / (time.time() - begun)
            print(f"lm: step {step}/{recipe.steps}, loss {loss:.3f}, {rate:.0f} tokens/s", flush=True)
        if step % recipe.checkpoint_every == 0:
            _checkpoint(work / "lm.pt", model, optimizer, step)
    model.save_pretrained(folder)


def _parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to `lr_end`."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
    return recipe.lr_end + (recipe.lr - recipe.lr_end) * (1 + math.cos(math.pi * done)) / 2


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
