"""Tiny random language models of four architectures, and tokenizers that are built from a few words."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from string import ascii_letters
from typing import Any

import torch
from torch import Tensor

from saebench.subject.subject import Subject

torch.set_num_threads(1)
LAYERS, WIDTH, HEADS, CONTEXT, VOCABULARY = 3, 32, 2, 160, 800
WINDOW = 5
BOS, UNKNOWN = "<s>", "<unk>"
WORDS = (
    "snake cat dog bird fox newt owl goat hare horse jackal kiwi lion mole otter panda quail rabbit seal tiger "
    "urchin viper walrus yak zebra apple bread carrot date egg fig grape honey jam kale lemon mango nut olive pear"
).split()
# Models. The weights are large, so that every token before the last one moves what is read there


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS, "n_positions": CONTEXT, "initializer_range": 0.3}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, **sizes))


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(num_key_value_heads=1, **sizes()))


def neox() -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes()))


def gemma2(window: int = CONTEXT) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    heads = {"num_key_value_heads": 1, "head_dim": WIDTH // HEADS, "sliding_window": window, "pad_token_id": 0}
    return Gemma2ForCausalLM(Gemma2Config(**heads, **sizes()))


def sizes() -> dict[str, Any]:
    return {
        "num_hidden_layers": LAYERS, "hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": CONTEXT, "vocab_size": VOCABULARY, "initializer_range": 0.3,
        "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip


NETWORKS: dict[str, Callable[[], Any]] = {
    "gpt2": gpt2, "llama": llama, "neox": neox, "gemma2": gemma2, "gemma2-window": lambda: gemma2(WINDOW),
}  # fmt: skip


def network(architecture: str) -> Any:
    """The model as transformers runs it; the same weights every time."""
    torch.manual_seed(0)
    return NETWORKS[architecture]().eval().requires_grad_(False)


def subject(architecture: str = "gpt2", tokenizer: Any = None) -> Subject:
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer = tokenizer or byte_level(spaced(WORDS[:2]))
    name = f"tiny-{architecture}"
    bridge = TransformerBridge.boot_transformers(
        name, hf_model=network(architecture), tokenizer=tokenizer, device="cpu"
    )
    return Subject(name, f"digest of {name}", bridge, tokenizer, "cpu")


shared = cache(subject)


def full(model: Subject, hook: str, tokens: Tensor) -> Tensor:
    """Activations (prompt, position, d) at a hook in one pass over whole prompts; heads are joined."""
    _, found = model.bridge.run_with_cache(tokens, names_filter=[hook])
    return found[hook].flatten(2)  # type: ignore[no-any-return]


# Tokenizers. A space in front of a word counts: " snake" makes one token of the word inside a line


def spaced(words: Sequence[str]) -> list[str]:
    return [f" {word}" for word in words]


def byte_level(texts: Sequence[str], *, regex: bool = True, **special: str) -> Any:
    """As GPT-2's; without its regular expression, pieces merge across spaces and ends of lines."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    merges = merges_for([whole.pre_tokenize_str(text)[0][0] for text in texts])
    vocabulary = numbered([BOS, *sorted(whole.alphabet()), *map("".join, merges)])
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.decoder = decoders.ByteLevel()
    return wrapped(tokenizer, **special)


def llama_like(texts: Sequence[str], **special: str) -> Any:
    """As Llama 2's: "▁" is a space, one more stands before the text, nothing splits it."""
    from tokenizers import normalizers

    tokenizer = sentence_piece(texts)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return wrapped(tokenizer, **special)


def metaspace(texts: Sequence[str], **special: str) -> Any:
    """As Mistral's: the same, but the text is split at spaces beforehand."""
    from tokenizers import pre_tokenizers

    tokenizer = sentence_piece(texts)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return wrapped(tokenizer, **special)


def sentence_piece(texts: Sequence[str]) -> Any:
    """BPE with a token for every byte before all pieces, which stand for characters that are no piece."""
    from tokenizers import Tokenizer, decoders, models

    pieces = [text.replace(" ", "▁") for text in texts]
    merges, letters = merges_for(pieces), sorted({*"".join(pieces), *ascii_letters, *"▁:."})
    vocabulary = numbered([BOS, UNKNOWN, *(f"<0x{i:02X}>" for i in range(256)), *map("".join, merges), *letters])
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token=UNKNOWN))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def merges_for(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that make each piece one token; those of an earlier piece come first, so that it wins."""
    merges: list[tuple[str, str]] = []
    for piece in pieces:
        parts = list(piece)
        for merge in merges:
            parts = merged(parts, merge)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = merged(parts, merges[-1])
    return merges


def merged(parts: list[str], merge: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for part in parts:
        if result and (result[-1], part) == merge:
            result[-1] += part
        else:
            result.append(part)
    return result


def numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def wrapped(tokenizer: Any, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    # transformer-lens would look a tokenizer that does not add BOS itself up on the hub, by its name.
    names = {"bos_token": BOS, "eos_token": BOS, "pad_token": BOS, "name_or_path": "tiny"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, add_bos_token=True, **names, **special)


TOKENIZERS: dict[str, Callable[..., Any]] = {"byte-level": byte_level, "llama": llama_like, "metaspace": metaspace}


def passes(model: Subject, run: Callable[[], Any]) -> Counter[int]:
    """How often each layer's attention is computed."""
    count: Counter[int] = Counter()
    handles = [
        block.attn.register_forward_hook(lambda *_, layer=layer: count.update([layer]))
        for layer, block in enumerate(model.bridge.blocks)
    ]
    run()
    for handle in handles:
        handle.remove()
    return count
