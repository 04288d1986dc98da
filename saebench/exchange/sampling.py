"""A few scores that stand for a leaderboard: of few SAEs, since each takes long, and of many properties."""

import random
from collections.abc import Iterator, Mapping, Sequence

from saebench.record.naming import natural
from saebench.record.score import Score

SAMPLE = 24
FEWEST_SAES = 4
"""SAEs of a sample: each is loaded, and its activations are computed, once for all of its scores."""
Key = tuple[str, str, str]
"""SAE, model and budget: what one run of the suites is about."""


def sample(scores: Sequence[Score], count: int, seed: int = 0) -> list[Score]:
    """Choose scores of few SAEs, one in four of them a control, in turns over their families and then properties.

    Equal scores and seeds give equal samples, whatever the order of the scores.
    """
    rng = random.Random(seed)
    of_sae: dict[Key, list[Score]] = {}
    for score in sorted(scores, key=lambda score: (natural(score.sae), score.identity())):
        of_sae.setdefault(key_of(score), []).append(score)
    controls = {key for key, rows in of_sae.items() if rows[0].control}
    order = list(_interleaved(_shuffled(rng, of_sae.keys() - controls), _shuffled(rng, controls)))
    chosen = [key for i, key in enumerate(order) if i < min(FEWEST_SAES, count) or _held(of_sae, order[:i]) < count]
    turns = [_in_turns(rng, of_sae[key]) for key in chosen]
    found: list[Score] = []
    seen: set[str] = set()
    while len(found) < count and any(turns):
        for families in [turn for turn in turns if turn][: count - len(found)]:
            found.append(_next(families, seen))
    return sorted(found, key=lambda score: (order.index(key_of(score)), score.property))


def key_of(score: Score) -> Key:
    return score.sae, score.model, score.budget


def _shuffled(rng: random.Random, keys: set[Key]) -> list[Key]:
    found = sorted(keys)
    rng.shuffle(found)
    return found


def _interleaved(own: list[Key], controls: list[Key]) -> Iterator[Key]:
    while own or controls:
        for _ in range(FEWEST_SAES - 1):
            if own:
                yield own.pop(0)
        if controls:
            yield controls.pop(0)


def _held(of_sae: Mapping[Key, Sequence[Score]], keys: Sequence[Key]) -> int:
    return sum(len(of_sae[key]) for key in keys)


def _in_turns(rng: random.Random, scores: Sequence[Score]) -> list[list[Score]]:
    """Scores by family, in random order; the first list is the next family's."""
    families: dict[str, list[Score]] = {}
    for score in rng.sample(list(scores), len(scores)):
        families.setdefault(score.property.partition(".")[0], []).append(score)
    return list(families.values())


def _next(families: list[list[Score]], seen: set[str]) -> Score:
    """Take one of the next family's, of a property that is not in the sample yet where there is one."""
    family = families.pop(0)
    score = next((score for score in family if score.property not in seen), family[0])
    family.remove(score)
    seen.add(score.property)
    if family:
        families.append(family)
    return score
