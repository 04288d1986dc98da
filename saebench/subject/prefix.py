"""What comes right after a prefix, whose keys and values are computed once: single tokens, each on its own.

They are a batch, each with a copy of the prefix's keys and values in every layer; of a model of some size these copies are
most of the work, and there they go beside each other in one sequence, blind to their neighbours.
"""

import copy
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.subject.partial import agrees
from saebench.subject.subject import Subject, layer_of

BATCH, ABREAST = 512, 256
"""Words per forward pass, and how many of them go beside each other; scores do not depend on it."""
TRIED = 3
"""Words on which it is found out whether they can go beside each other."""
LARGE = 16_384
"""Bytes of keys and values per position from which on copies of them are avoided. Smaller models are as fast with them."""


def is_worthwhile(memory: Any) -> bool:
    """Whether the keys and values (a cache of transformers) of a prefix are large."""
    held = [of for layer in memory.layers if layer.get_seq_length() for of in (layer.keys, layer.values)]
    size: int = sum(of.numel() * of.element_size() // of.shape[-2] for of in held)
    return size >= LARGE


def abreast(subject: Subject, memory: Any, count: int) -> dict[str, Any]:
    """What a pass over `count` tokens (1, count) takes to have each of them come right after what is remembered."""
    length = memory.get_seq_length()
    dtype = getattr(torch, subject.dtype)
    mask = torch.full((count, length + count), torch.finfo(dtype).min, dtype=dtype)
    mask[:, :length] = 0
    mask[:, length:].fill_diagonal_(0)
    return {
        "past_key_values": copy.deepcopy(memory), "use_cache": True,
        "attention_mask": mask[None, None].to(subject.device),
        "position_ids": torch.full((1, count), length, device=subject.device),
    }  # fmt: skip


@torch.no_grad()
def after_prefix(
    subject: Subject, hook: str, prefix: Int[Tensor, "1 position"], tokens: Int[Tensor, "word 1"]
) -> Float[Tensor, "word d"]:
    """Activation (word, d) at the hook of each one-token word (word, 1) right after a prefix (1, position).

    It depends on nothing that follows the word. The prefix runs once, its keys and values serve all words, and
    layers after the hook do not run.
    """
    stop = layer_of(hook) + 1
    memory = remember(subject, prefix, stop)

    def run(batch: Tensor, **after: Any) -> Tensor:
        _, found = subject.bridge.run_with_cache(
            batch.to(subject.device), names_filter=[hook], stop_at_layer=stop, **after
        )
        return subject.seen(found[hook], hook).flatten(0, 1).cpu()

    def each(rows: slice) -> Tensor:
        batch = tokens[rows]
        return run(batch, past_key_values=repeated(memory, len(batch)), use_cache=True)

    def beside(rows: slice) -> Tensor:
        batch = tokens[rows].T
        return run(batch, **abreast(subject, memory, batch.shape[1]))

    first = slice(0, TRIED)
    together = is_worthwhile(memory) and agrees(lambda: beside(first), each(first))
    return torch.cat(subject.batch.over(len(tokens), *((beside, ABREAST) if together else (each, BATCH))))


@torch.no_grad()
def remember(subject: Subject, prefix: Int[Tensor, "1 position"], stop: int | None = None) -> Any:
    """Keys and values of a prefix (1, position), up to layer `stop`.

    Raises ValueError where the libraries that are installed keep none: words would be read as if nothing came before them.
    """
    from transformers.cache_utils import DynamicCache

    subject.check(prefix)
    memory = DynamicCache(config=subject.bridge.original_model.config)
    options = {} if stop is None else {"stop_at_layer": stop}
    subject.bridge(prefix.to(subject.device), past_key_values=memory, use_cache=True, **options)
    if not any(layer.get_seq_length() == prefix.shape[1] for layer in memory.layers):
        versions = " and ".join(f"{name} {version(name)}" for name in ("transformer-lens", "transformers"))
        raise ValueError(
            f"{subject.name}: what {versions} remember of a prefix is not the prefix; saebench was tested with"
            " transformers 5.9 to 5.23: pip install 'transformers<5.24'"
        )
    return memory


def repeated(memory: Any, times: int) -> Any:
    """The keys and values for a batch, which a forward pass appends to: one prefix, seen by every row."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    copied = copy.deepcopy(memory)
    for layer in copied.layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            layer.batch_repeat_interleave(times)
        elif layer.get_seq_length():
            layer.keys, layer.values = (of.expand(times, *of.shape[1:]) for of in (layer.keys, layer.values))
    return copied
