"""The language model under study: loading, hook checks, forward passes that stop at the hook, splicing."""

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saebench.hub.models import model_folder, subject_digest
from saebench.record.naming import nearest, one_sentence, shown_model
from saebench.record.places import ORGANISM
from saebench.subject.batches import Batch
from saebench.subject.room import check_room
from saebench.subject.special_tokens import forget_unknown

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Change = Callable[[torch.nn.Module], torch.nn.Module]
FIRST = ("hook_embed",)
"""Hooks before the first block."""
STREAM = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "hook_embed")
"""Hooks whose activation is the residual stream, or is added to it."""


@dataclass(frozen=True)
class Subject:
    """A language model with its tokenizer. Activations are the unprocessed ones that SAEs are trained on."""

    name: str
    digest: str
    bridge: "TransformerBridge"
    tokenizer: Any
    device: str
    centred: bool = False
    """Activations come minus their mean over dimensions, which a model with LayerNorm never uses."""
    batch: Batch = field(default_factory=Batch)

    @property
    def n_ctx(self) -> int:
        return int(self.bridge.cfg.n_ctx)

    @property
    def n_vocab(self) -> int:
        """Token ids that the model has an embedding for."""
        return int(self.bridge.cfg.d_vocab)

    @property
    def dtype(self) -> str:
        return str(next(self.bridge.original_model.parameters()).dtype).removeprefix("torch.")

    @cached_property
    def hooks(self) -> tuple[str, ...]:
        """Names of all hooks: the bridge looks for them anew whenever it is asked."""
        return tuple(self.bridge.hook_dict)

    def check_hook(self, hook: str, of: str = "") -> None:
        """Raise ValueError with the nearest name, `of` whom it is; transformer-lens ignores unknown hooks silently."""
        if hook not in self.hooks:
            known = [name for name in self.hooks if name.startswith(("blocks.", *FIRST))]
            raise ValueError(f"{of and f'{of}: '}{self.name} has no hook {hook!r}.{nearest(hook, known)}")

    def seen(self, activation: Tensor, hook: str) -> Tensor:
        """An activation (…, d) or, at attention's z, (…, head, d_head) as SAEs are given it: float32 (…, d)."""
        flat = activation.detach().flatten(2).float()
        return flat - flat.mean(dim=-1, keepdim=True) if self.centred and hook.endswith(STREAM) else flat

    def splices(self, hook: str, put: Callable[[Tensor], Tensor]) -> list[tuple[str, Callable[..., Tensor]]]:
        """Hooks that put something in the place of an activation.

        In the middle of a block, transformer-lens's bridge hooks what goes into the second norm alone: what is changed
        there is also added to what goes past it.
        """
        added: list[Tensor] = []

        def first(activation: Tensor, hook: Any) -> Tensor:
            new = put(activation)
            added.append(new - activation)
            return new

        def after(activation: Tensor, hook: Any) -> Tensor:
            return activation + added.pop()

        if not hook.endswith("hook_resid_mid"):
            return [(hook, lambda activation, hook: put(activation))]
        return [(hook, first), (f"blocks.{layer_of(hook)}.hook_resid_post", after)]

    @cached_property
    def tuples(self) -> bool:
        """Whether blocks of this architecture return tuples."""
        kinds: list[bool] = []
        handle = self.bridge.blocks[0].register_forward_hook(
            lambda block, args, out: kinds.append(isinstance(out, tuple))
        )
        self.logits(torch.zeros(1, 1, dtype=torch.long))
        handle.remove()
        return kinds[-1]

    @torch.no_grad()
    def residual(self, tokens: Tensor, hook: str) -> Tensor:
        """Activations (context, position, d) at a hook of token ids (context, position); later layers do not run."""
        return self.activations(tokens, hook)[0]

    @torch.no_grad()
    def activations(self, tokens: Tensor, *hooks: str) -> tuple[Tensor, ...]:
        """The same at several hooks, in one pass."""
        self.check(tokens)
        for hook in hooks:
            self.check_hook(hook)
        _, cache = self.bridge.run_with_cache(
            tokens.to(self.device), names_filter=list(hooks), stop_at_layer=max(map(layer_of, hooks)) + 1
        )
        if lacking := [hook for hook in hooks if hook not in cache]:
            raise ValueError(f"{self.name}: nothing passed through hook {lacking[0]!r}")
        return tuple(self.seen(cache[hook], hook) for hook in hooks)

    @torch.no_grad()
    def logits(self, tokens: Tensor, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        """Logits (context, position, vocabulary); with `replacement` (context, position, d) put in at the hook."""
        self.check(tokens)
        tokens = tokens.to(self.device)
        if hook is None or replacement is None:
            return self.bridge(tokens, return_type="logits")  # type: ignore[no-any-return]
        self.check_hook(hook)
        fired = []

        def put(activation: Tensor) -> Tensor:
            fired.append(hook)
            return replacement.to(activation.dtype).reshape(activation.shape)

        out = self.bridge.run_with_hooks(tokens, return_type="logits", fwd_hooks=self.splices(hook, put))
        if not fired:
            raise ValueError(f"{self.name}: nothing passed through hook {hook!r}")
        return out  # type: ignore[no-any-return]

    def check(self, tokens: Tensor) -> None:
        """Raise ValueError for token ids (context, position) that the model has no embedding for, or too many of them."""
        if (highest := int(tokens.max())) >= self.n_vocab:
            raise ValueError(
                f"{self.name} embeds {self.n_vocab} tokens, and its tokenizer gives a text the id {highest}"
            )
        if tokens.shape[1] > self.n_ctx:
            raise ValueError(
                f"{self.name} has no embedding for position {tokens.shape[1] - 1}: its context is {self.n_ctx} tokens"
            )


def layer_of(hook: str) -> int:
    """Layer of `blocks.N.…`; the embedding counts to the first."""
    if hook in FIRST:
        return 0
    match = re.match(r"blocks\.(\d+)\.", hook)
    if match is None:
        raise ValueError(f"hook {hook!r} is not inside a block: expected a name such as 'blocks.2.hook_resid_post'")
    return int(match[1])


@one_sentence
def load_subject(
    name: str = ORGANISM, device: str = "cpu", change: Change | None = None, changed: str = "changed",
    *, centred: bool = False, dtype: str = "float32",
) -> Subject:  # fmt: skip
    """Load the organism, or a Hugging Face causal language model by folder or name, and `change` it if asked to.

    `changed` says how, and is part of the digest, as `dtype` is where it is another than float32. Raises OSError or
    ValueError with one sentence if it is not on this machine, or cannot be loaded.
    """
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer, model = load_causal(name, device, dtype)
    model = change(model.eval()) if change else model.eval()
    # The bridge moves no model that it is given.
    model.requires_grad_(False).to(device)
    # A copy, since a tokenizer that lacks a special token is given one that the model has no row for.
    bridge = TransformerBridge.boot_transformers(
        str(model_folder(name)), hf_model=model, tokenizer=copy.deepcopy(tokenizer), device=device
    )
    if centred and not any(isinstance(module, torch.nn.LayerNorm) for module in model.modules()):
        raise ValueError(f"an SAE of centred activations is of a model with LayerNorm, and {name} has none")
    digest = subject_digest(name, centred=centred, dtype=dtype)
    return Subject(name, f"{changed} {digest}" if change else digest, bridge, tokenizer, device, centred)


def load_causal(name: str, device: str, dtype: str = "float32") -> tuple[Any, Any]:
    """Tokenizer and model of transformers, by folder or name, ready to be run.

    Raises OSError or ValueError with one sentence if they are not on this machine, do not fit, or cannot be loaded.
    """
    import transformers

    folder = str(model_folder(name))
    check_room(name, device, dtype)
    try:
        # Said outright: where it is left open, transformers asks the user whether to run a model's own code.
        here = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **here)
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **here
        )
        _check_weights(model, found["missing_keys"])
        forget_unknown(tokenizer, Path(folder), len(model.get_input_embeddings().weight))
    except (ImportError, KeyError, RuntimeError, TypeError, ValueError, OSError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"the model {shown_model(name)} cannot be loaded: {first}") from error
    return tokenizer, model.eval().requires_grad_(False).to(device)


def _check_weights(model: torch.nn.Module, missing: Iterable[str]) -> None:
    """transformers draws what a checkpoint lacks at random, and only warns."""
    if lacking := sorted(missing):
        raise ValueError(f"its files lack {len(lacking)} weights, among them {lacking[0]}")
    for name, value in model.named_parameters():
        if not torch.isfinite(value.detach().sum()) and not torch.isfinite(value).all():
            raise ValueError(f"{name} holds values that are NaN or infinite")
