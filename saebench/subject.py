"""The language model under study: loading, hook checks, forward passes that stop at the hook, splicing."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saebench.registry import fixtures_dir, nearest

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Change = Callable[[torch.nn.Module], torch.nn.Module]
ORGANISM = "organism"


def organism_folder() -> Path:
    """Where the embedded model, its tokenizer and its world lie."""
    return fixtures_dir() / ORGANISM


@dataclass(frozen=True)
class Subject:
    """A language model with its tokenizer. Activations are the unprocessed ones that SAEs are trained on."""

    name: str
    digest: str
    bridge: "TransformerBridge"
    tokenizer: Any
    device: str

    @property
    def n_ctx(self) -> int:
        return int(self.bridge.cfg.n_ctx)

    def check_hook(self, hook: str) -> None:
        """Raise ValueError with the nearest name; transformer-lens ignores unknown hooks silently."""
        known = [name for name in self.bridge.hook_dict if name.startswith("blocks.")]
        if hook not in self.bridge.hook_dict:
            raise ValueError(f"{self.name} has no hook {hook!r}.{nearest(hook, known)}")

    @torch.no_grad()
    def residual(self, tokens: Tensor, hook: str) -> Tensor:
        """Activations (context, position, d) at a hook of token ids (context, position); later layers do not run."""
        self._check(tokens)
        self.check_hook(hook)
        _, cache = self.bridge.run_with_cache(
            tokens.to(self.device), names_filter=[hook], stop_at_layer=layer_of(hook) + 1
        )
        return cache[hook].detach()  # type: ignore[no-any-return]

    @torch.no_grad()
    def logits(self, tokens: Tensor, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        """Logits (context, position, vocabulary); with `replacement` (context, position, d) put in at the hook."""
        self._check(tokens)
        tokens = tokens.to(self.device)
        if hook is None or replacement is None:
            return self.bridge(tokens, return_type="logits")  # type: ignore[no-any-return]
        self.check_hook(hook)
        fired = []

        def splice(activation: Tensor, hook: Any) -> Tensor:
            fired.append(hook.name)
            return replacement.to(activation.dtype)

        out = self.bridge.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(hook, splice)])
        if not fired:
            raise ValueError(f"{self.name}: nothing passed through hook {hook!r}")
        return out  # type: ignore[no-any-return]

    def _check(self, tokens: Tensor) -> None:
        if tokens.shape[1] > self.n_ctx:
            raise ValueError(
                f"{self.name} has no embedding for position {tokens.shape[1] - 1}: its context is {self.n_ctx} tokens"
            )


def layer_of(hook: str) -> int:
    """Layer of `blocks.N.…`."""
    match = re.match(r"blocks\.(\d+)\.", hook)
    if match is None:
        raise ValueError(f"hook {hook!r} is not inside a block: expected a name such as 'blocks.2.hook_resid_post'")
    return int(match[1])


def load_subject(
    name: str = ORGANISM, device: str = "cpu", change: Change | None = None, changed: str = "changed"
) -> Subject:
    """Load the organism, or a Hugging Face causal language model by folder or name, and `change` it if asked to.

    `changed` says how, and is part of the digest.
    """
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    folder = organism_folder() if name == ORGANISM else Path(name).expanduser()
    source = str(folder) if folder.exists() else name
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    model = change(model) if change else model
    model.requires_grad_(False)
    bridge = TransformerBridge.boot_transformers(source, hf_model=model, tokenizer=tokenizer, device=device)
    digest = model_digest(name) if change is None else f"{changed} {model_digest(name)}"
    return Subject(name, digest, bridge, tokenizer, device)


def model_digest(name: str) -> str:
    """sha256 over a local model's weights, configuration and tokenizer; for a name on the hub, over the name."""
    folder = organism_folder() if name == ORGANISM else Path(name).expanduser()
    sha = hashlib.sha256(name.encode() if not folder.is_dir() else b"")
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.name in ("config.json", "tokenizer.json") or path.suffix == ".safetensors":
            sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()
