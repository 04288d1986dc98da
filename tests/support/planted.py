"""A tiny random language model, SAEs whose scores are known beforehand, and traces made by hand."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.trace import Trace, trace
from saebench.saes.sae import LoadedSAE
from saebench.subject.activations import Activations, compute_activations
from saebench.subject.corpora import Rows
from saebench.subject.subject import Subject

torch.set_num_threads(1)
HOOK = "blocks.0.hook_resid_post"
D, VOCABULARY, DOCUMENTS, CONTEXT = 32, 97, 24, 40
FACTS = {"name": "planted/sae", "loader": "python", "location": "planted:make"}


@cache
def subject() -> Subject:
    """A random GPT-2 of two layers, with weights large enough for its predictions to differ from token to token."""
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w1"))
    names = {"bos_token": "w0", "eos_token": "w0", "pad_token": "w0", "unk_token": "w1", "name_or_path": "tiny"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, add_bos_token=True, **names)
    bridge = TransformerBridge.boot_transformers("tiny", hf_model=gpt2(), tokenizer=tokenizer, device="cpu")
    return Subject("tiny", "digest of tiny", bridge, tokenizer, "cpu")


def gpt2() -> torch.nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=2, n_embd=D, n_head=2, vocab_size=VOCABULARY, n_positions=64, initializer_range=0.3,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval().requires_grad_(False)


@cache
def tokens() -> Tensor:
    """Documents that the model itself wrote after BOS, so that whatever changes its predictions raises its loss."""
    rows, generator = torch.zeros(DOCUMENTS, 1, dtype=torch.long), torch.Generator().manual_seed(0)
    for _ in range(CONTEXT - 1):
        following = subject().logits(rows)[:, -1].softmax(-1)
        rows = torch.cat([rows, torch.multinomial(following, 1, generator=generator)], dim=1)
    return rows


@cache
def activations() -> Activations:
    whole = torch.full((DOCUMENTS,), CONTEXT)
    corpus: Any = SimpleNamespace(name="planted", rows=lambda tokenizer: Rows(tokens(), whole))
    no_cache: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())
    return compute_activations(subject(), HOOK, corpus, no_cache)


def with_residual(change: Callable[[Tensor], None]) -> Activations:
    """The same, after `change` of a copy of the residual stream in place."""
    residual = activations().residual.clone()
    change(residual)
    return replace(activations(), residual=residual)


def loaded(source: Any, **facts: Any) -> LoadedSAE:
    return LoadedSAE(SAESpec(**FACTS | facts), source, "digest", "cpu")


def traced(source: Any, on: Activations | None = None, **facts: Any) -> Trace:
    return trace(loaded(source, **facts), on or activations())


def fake(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> SimpleNamespace:
    return SimpleNamespace(encode=encode, decode=decode)


def identity() -> SimpleNamespace:
    """Also the SAE whose latents are all dense, and which is active with either sign."""
    return fake(lambda x: x, lambda latents: latents)


def always(vector: Tensor, *, dead: bool = True) -> SimpleNamespace:
    """Returns one vector whatever it reads; its eight latents are all dead or all dense."""
    level = 0.0 if dead else 1.0
    return fake(lambda x: torch.full((len(x), 8), level), lambda latents: vector.expand(len(latents), -1))


def mean_predictor(on: Activations | None = None) -> SimpleNamespace:
    return always((on or activations()).mean)


def zero() -> SimpleNamespace:
    return always(torch.zeros(D))


def noisy_identity(scale: float) -> SimpleNamespace:
    """Adds noise that is a function of the activation, so that it does not depend on the batch."""
    return fake(lambda x: x + scale * torch.sin(1000 * x), lambda latents: latents)


def except_where(bad: Callable[[Tensor], Tensor]) -> SimpleNamespace:
    """The identity but for tokens where `bad` holds, for which it returns garbage."""
    return fake(lambda x: torch.where(bad(x).unsqueeze(-1), -50.0, x), lambda latents: latents)


def dictionary(threshold: float = 0.5) -> SimpleNamespace:
    """A ReLU SAE with a latent per direction and sign, which shrinks what it reads; it has W_dec and no decode."""
    basis = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1))).Q
    w_dec = torch.cat([basis, -basis])
    return relu_sae(w_dec.T.contiguous(), torch.full((2 * D,), -threshold), w_dec)


def relu_sae(w_enc: Tensor, b_enc: Tensor, w_dec: Tensor) -> SimpleNamespace:
    sae = SimpleNamespace(W_enc=w_enc, b_enc=b_enc, W_dec=w_dec, b_dec=torch.zeros(w_dec.shape[1]))
    sae.encode = lambda x: (x @ w_enc + b_enc).relu()
    return sae


def rescaled(sae: SimpleNamespace) -> SimpleNamespace:
    factor = torch.linspace(0.1, 20, sae.W_dec.shape[0])
    return relu_sae(sae.W_enc * factor, sae.b_enc * factor, sae.W_dec / factor.unsqueeze(1))


def permuted(sae: SimpleNamespace) -> SimpleNamespace:
    order = torch.randperm(sae.W_dec.shape[0], generator=torch.Generator().manual_seed(2))
    return relu_sae(sae.W_enc[:, order], sae.b_enc[order], sae.W_dec[order])


def with_dead(sae: SimpleNamespace, n: int) -> SimpleNamespace:
    """`n` latents appended that never fire, whose decoder rows are large."""
    w_enc = torch.cat([sae.W_enc, torch.zeros(D, n)], dim=1)
    return relu_sae(w_enc, torch.cat([sae.b_enc, -torch.ones(n)]), torch.cat([sae.W_dec, torch.full((n, D), 9.0)]))


def duplicated(sae: SimpleNamespace) -> SimpleNamespace:
    """Every latent twice, each with half of the decoder's row."""
    return relu_sae(
        torch.cat([sae.W_enc, sae.W_enc], dim=1), sae.b_enc.repeat(2), torch.cat([sae.W_dec, sae.W_dec]) / 2
    )


def make_trace(documents: int = 24, positions: int = 96, inside: int = 32, **overrides: Any) -> Trace:
    """A trace of a competent SAE; numbers and tensors given are spread over (document, position)."""
    jitter = 1 + 0.1 * torch.randn(documents, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    values = {
        "error": 0.1 * jitter, "signal": jitter, "output": 0.9 * jitter, "product": 0.9 * jitter, "l0": 8.0,
        "kl": 0.1 * jitter, "ce": 2.0 + 0.1 * jitter, "clean_ce": 2.0, "zero_ce": 6.0, "mean_ce": 5.0, "mean_kl": 3.0,
        "zero_kl": 4.0, "norm_in": 2.0, "norm_out": 1.9, "inner": 3.7, "mean_cosine": 0.8,
        "fired": torch.ones(10, dtype=torch.float64), "context_known": True, "latents": None,
        "tokens": torch.zeros(0, dtype=torch.long), "counted": 1.0,
    }  # fmt: skip
    values |= overrides
    facts = {name: values.pop(name) for name in ("fired", "context_known", "latents", "tokens")}
    shape = (documents, positions)
    tensors = {k: torch.as_tensor(v, dtype=torch.float64).expand(shape).clone() for k, v in values.items()}
    return Trace(**tensors, inside=inside, **facts)
