"""What the organism is measured to be: whether its model uses context, spells, and whether its SAEs find letters."""

import hashlib
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.organism.lexicon import Entry
from saebench.organism.spelling import statement
from saebench.organism.world import World
from saebench.saes.sae import LoadedSAE
from saebench.subject.corpora import WorldTexts
from saebench.subject.prefix import remember, repeated
from saebench.subject.subject import Subject

EXAMPLES = 10
TRAIN_SHARE = 0.7
MIN_WORDS = 20
"""Letters with fewer words are left out of the mean over letters."""
DOCUMENTS = 1024
QUERIES = 256
"""Words per pass."""
PRECISE, HOLED = 0.9, 0.9
"""A latent that is at least so precise and has at most so much recall has the signature of absorption."""


@dataclass(frozen=True)
class WordActivations:
    """Activation at each lexicon word's own token, in a spelling prompt with in-context examples."""

    words: tuple[Entry, ...]
    x: Tensor
    """(word, d)"""
    spelled: NDArray[np.bool_]
    """Whether the model's next token after "has the first letter:" is the right letter."""
    train: NDArray[np.bool_]
    """Whether latents are chosen and probes fitted on a word, by a hash of it; all that is reported is of the others."""


def losses(subject: Subject) -> dict[str, float]:
    """Next-token losses in nats on held-out documents."""
    tokens = WorldTexts(DOCUMENTS, subject.n_ctx).rows(subject.tokenizer).tokens
    ce = torch.cat(subject.batch.over(len(tokens), lambda rows: _cross_entropy(subject, tokens[rows])))
    return {
        "loss_heldout": ce[:, :-1].mean().item(),
        "loss_shuffled_context": _shuffled_context_loss(subject, tokens),
        "loss_pos_16_63": ce[:, 16:64].mean().item(),
        "loss_pos_192_255": ce[:, 192:255].mean().item(),
    }


def _cross_entropy(subject: Subject, tokens: Tensor) -> Tensor:
    logits = subject.logits(tokens).log_softmax(-1)
    return torch.nn.functional.pad(-logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0], (0, 1))


def _shuffled_context_loss(subject: Subject, tokens: Tensor) -> float:
    """Loss of one token per document when all tokens before it, but BOS, come in a random order."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for row in tokens:
        target = int(torch.randint(16, tokens.shape[1], (), generator=generator))
        order = 1 + torch.randperm(target - 1, generator=generator)
        context = torch.cat([row[:1], row[order]])
        found.append(-subject.logits(context[None])[0, -1].log_softmax(-1)[row[target]].item())
    return float(np.mean(found))


@torch.no_grad()
def word_activations(subject: Subject, world: World, hook: str) -> WordActivations:
    """Read every lexicon word once, after the same few in-context examples, of which none is the word itself."""
    words = world.lexicon.words
    alike: dict[str, list[int]] = {}
    prompts = [_prompt(word, world) for word in words]
    for row, (before, _) in enumerate(prompts):
        alike.setdefault(before, []).append(row)
    found = [_after(subject, hook, before, [prompts[row][1] for row in rows]) for before, rows in alike.items()]
    x, guess = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.tensor([row for rows in alike.values() for row in rows]).argsort()
    letters = subject.tokenizer([" " + word.letter for word in words], add_special_tokens=False)["input_ids"]
    spelled = guess[order].numpy() == np.array(letters)[:, 0]
    return WordActivations(words, x[order].float(), spelled, np.array([_is_train(w.text) for w in words]))


def _after(subject: Subject, hook: str, before: str, queries: list[str]) -> tuple[Tensor, Tensor]:
    """Activations (query, d) at the first token of queries that come after one text, and the next token's guess (query,).

    The text before them, which is most of it, runs once.
    """
    ids = subject.tokenizer([before, *queries], add_special_tokens=False)["input_ids"]
    memory, asked = remember(subject, torch.tensor([[subject.tokenizer.bos_token_id, *ids[0]]])), torch.tensor(ids[1:])

    def read(rows: slice) -> tuple[Tensor, Tensor]:
        batch = asked[rows].to(subject.device)
        logits, cache = subject.bridge.run_with_cache(
            batch, names_filter=[hook], past_key_values=repeated(memory, len(batch)), use_cache=True
        )
        return subject.seen(cache[hook], hook)[:, 0].cpu(), logits[:, -1].argmax(-1).cpu()

    x, guess = zip(*subject.batch.over(len(asked), read, QUERIES), strict=True)
    return torch.cat(x), torch.cat(guess)


def _prompt(word: Entry, world: World) -> tuple[str, str]:
    """The text before the word's token and the text from it on."""
    rng = random.Random("first-letter examples")
    examples = [w for w in rng.sample(world.lexicon.words, EXAMPLES + 1) if w != word][:EXAMPLES]
    query = statement(word).rstrip("\n").rsplit(" ", 1)[0]
    return "".join(statement(example) for example in examples), query


def _is_train(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < TRAIN_SHARE * 256


def probe_hits(acts: WordActivations, labels: list[str]) -> NDArray[np.bool_]:
    """Words whose label a linear probe reads rightly; it was fitted on the training words only."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500))
    x, y = acts.x.numpy(), np.array(labels)
    probe.fit(x[acts.train], y[acts.train])
    return np.asarray(probe.predict(x) == y)


def probe_accuracy(acts: WordActivations, labels: list[str]) -> float:
    """Accuracy of the probe on words that it was not fitted on."""
    return float(probe_hits(acts, labels)[~acts.train].mean())


def letters_of(acts: WordActivations) -> tuple[list[str], NDArray[np.bool_]]:
    """Letters with enough words, and (word, letter) membership."""
    all_letters = [word.letter for word in acts.words]
    letters = [letter for letter in sorted(set(all_letters)) if all_letters.count(letter) >= MIN_WORDS]
    return letters, np.array(all_letters)[:, None] == np.array(letters)


def probed_latent_f1(sae: LoadedSAE, acts: WordActivations) -> float:
    """Mean over letters of the F1 of the best single latent as a 1-sparse probe, on words it was not fitted on.

    For each letter the latent and the activation above which it says yes are those with the best F1 on the training
    words (k = 1 of the k-sparse probes of Chanin et al., arXiv 2409.14507).
    """
    _, member = letters_of(acts)
    latents, truth, train = (
        sae.encode(acts.x.to(sae.device)).cpu(),
        torch.from_numpy(member),
        torch.from_numpy(acts.train),
    )
    found = []
    for of_letter in truth.T:
        f1, threshold = _best_threshold(latents[train], of_letter[train])
        best = f1.argmax()
        said = (latents[~train, best] >= threshold[best]).numpy()[:, None]
        found.append(_f1(said, of_letter[~train].numpy()[:, None])[2].item())
    return float(np.mean(found))


def _best_threshold(latents: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """For every latent (word, latent) the best F1 at any threshold above zero, and that threshold."""
    sorted_latents, order = latents.sort(dim=0, descending=True)
    hits = member[order].cumsum(0)
    said = torch.arange(1, len(latents) + 1)[:, None]
    f1 = (2 * hits / (said + member.sum())) * (sorted_latents > 0)
    best = f1.max(0)
    return best.values, sorted_latents.gather(0, best.indices[None])[0]


def best_latents(sae: LoadedSAE, acts: WordActivations) -> list[dict[str, Any]]:
    """For each letter the latent that, by being active at all, has the best F1 on the training words, and its F1 on
    the others."""
    letters, member = letters_of(acts)
    active = (sae.encode(acts.x.to(sae.device)) != 0).cpu().numpy()
    chosen = _f1(active[acts.train], member[acts.train])[2].argmax(1)
    precision, recall, f1 = _f1(active[~acts.train], member[~acts.train])
    rows = []
    for i, (letter, latent) in enumerate(zip(letters, chosen, strict=True)):
        silent = [
            w.text
            for w, quiet in zip(acts.words, ~acts.train & member[:, i] & ~active[:, latent], strict=True)
            if quiet
        ]
        scores = {"precision": precision[i, latent], "recall": recall[i, latent], "f1": f1[i, latent]}
        rows.append(
            {"letter": letter, "latent": int(latent), "silent": silent, **{k: float(v) for k, v in scores.items()}}
        )
    return rows


def _f1(active: NDArray[np.bool_], member: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Precision, recall and F1, each (letter, latent), of every latent as a detector of every letter."""
    hits = member.T.astype(np.float32) @ active.astype(np.float32)
    precision = hits / np.maximum(active.sum(0), 1)
    recall = hits / np.maximum(member.sum(0), 1)[:, None]
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-9)


def readable_words(acts: WordActivations) -> set[str]:
    """Words whose first letter the probe gets right."""
    hits = probe_hits(acts, [word.letter for word in acts.words])
    return {word.text for word, hit in zip(acts.words, hits, strict=True) if hit}


def absorbed_letters(best: list[dict[str, Any]], readable: set[str]) -> list[dict[str, Any]]:
    """Letters whose latent is precise and yet silent on words that the probe, which never saw them, gets right."""
    rows = [{**row, "silent": [text for text in row["silent"] if text in readable]} for row in best]
    return [row for row in rows if row["precision"] >= PRECISE and row["recall"] <= HOLED and len(row["silent"]) >= 3]
