"""Line an SAE's features up with their fakes and ask the model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.evidence.game import fakes, known, ladder
from saebench.evidence.game.answers import MIXTURE, Lineup, Rungs, built
from saebench.evidence.game.curves import plateau
from saebench.evidence.game.dictionary import DENSEST, FEWEST_ACTIVE, Dictionary
from saebench.evidence.game.ladder import Parts
from saebench.evidence.game.moves import rotated
from saebench.evidence.game.rungs import ANGLES, Features, Pool, Rung
from saebench.evidence.game.scene import Scene, generator
from saebench.record.score import Unscored
from saebench.record.stages import stage
from saebench.stats.statistics import Bools, Floats, Ints

ERRORS = 8
"""Covariance mixtures per prompt that an error, or a plateau, is averaged over."""
PER_PROMPT = 2_000
"""Fakes per prompt, of kinds that depend on its activation."""
PARTS = 5
"""Active latents that are decomposed together."""
FEW_TRIES = 4
"""Decompositions of a kind that keeps all angles, of which one is as good as another."""
LIKE = 10
"""Latents of the nearest firing rates among which a latent's double is drawn."""


def make_lineup(
    scene: Scene, own: Dictionary, others: Mapping[str, Callable[[], Dictionary]], random_scene: Callable[[], Scene],
    positive: Rungs,
) -> Lineup:  # fmt: skip
    """Build and ask every rung. `others` gives the control SAEs, `random_scene` the model with random weights.

    Rungs are built when they are asked for; what raises Unscored becomes a rung with that reason. An SAE without
    features has no line-up at all.
    """
    if len(own.live) < ladder.FEWEST_FEATURES:
        raise Unscored(
            f"{len(own.live)} latents are active on {FEWEST_ACTIVE} tokens and on at most {DENSEST:.0%} of them: "
            f"fewer than {ladder.FEWEST_FEATURES}"
        )
    features, most, wrong = features_of(own, scene), scene.size.features, error(own, scene)
    mixture = cache(lambda: ladder.climb(features, scene.mixtures, most))
    rungs: dict[str, Callable[[], Rung]] = {
        "isotropic": lambda: ladder.climb(features, scene.isotropic, most),
        "rotated_dictionary": lambda: ladder.climb(features, _rotated(own), most),
        "covariance_gaussian": lambda: _towards_normal(scene, features, mixture()),
        MIXTURE: mixture,
        "real_mixture": lambda: ladder.climb(features, scene.real_mixtures, most),
        **{name: partial(_other, features, scene, name, make) for name, make in others.items()},
        "sum_of_two": lambda: ladder.climb(features, _sums(own), most),
        "sae_error": lambda: ladder.against_one(features, "sae_error", wrong[: scene.size.prompts], _ids(mixture())),
        **_active_rungs(scene, own),
    }  # fmt: skip
    controls: dict[str, Callable[[], Rung]] = {
        **{name: partial(built, positive, name) for name in positive},
        "halves": lambda: ladder.halves(mixture()),
        "dead_latents": lambda: ladder.climb(_dead(own, scene), scene.tempered, most),
        "random_model": lambda: _random_model(own, random_scene()),
    }
    fvu = float(wrong.square().sum() / (scene.ask.x - scene.ask.x.mean(0)).square().sum())
    return Lineup(Tried(rungs), Tried(controls), *_error_kl(scene, wrong), fvu, _plateaus(scene, own))


def positive_controls(scene: Scene) -> Rungs:
    """Directions of known tokens and concepts, which no SAE has a part in."""

    def rung(find: Callable[[Scene], known.Known]) -> Rung:
        found = find(scene)
        features = Features(scene.ask_all, scene.traits, found.directions, found.rate, found.active)
        return ladder.climb(features, scene.tempered, scene.size.features)

    return Tried({
        "token_means": lambda: rung(known.token_means),
        "next_token_means": lambda: rung(known.next_token_means),
        "difference_of_means": lambda: rung(known.differences_of_means),
        "token_embeddings": lambda: rung(known.token_embeddings),
    })  # fmt: skip


class Tried(Mapping[str, Rung | Unscored]):
    """Rungs by name, each built when it is first asked for; one that cannot be built is the reason why."""

    def __init__(self, builders: Mapping[str, Callable[[], Rung]]) -> None:
        self._builders, self._built = builders, dict[str, Rung | Unscored]()

    def __getitem__(self, name: str) -> Rung | Unscored:
        if name not in self._built:
            try:
                with stage(f"asking the model about {name.replace('_', ' ')}"):
                    self._built[name] = self._builders[name]()
            except Unscored as reason:
                # Not the exception that was raised: its traceback holds all that was in memory then.
                self._built[name] = Unscored(reason.reason, broken=reason.broken)
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._builders  # to look whether it is there builds nothing

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)


def features_of(own: Dictionary, scene: Scene) -> Features:
    return _features(own, scene, own.live, own.active[: scene.size.prompts, own.live])


def _features(own: Dictionary, scene: Scene, chosen: Ints, active: Bools) -> Features:
    return Features(scene.ask_all, scene.traits, own.directions[chosen], own.rate[chosen], active)


def data_rung(
    scene: Scene,
    own: Dictionary,
    real: Bool[np.ndarray, " latent"],
    fake: Bool[np.ndarray, " latent"],
    rate: Float[np.ndarray, " latent"],
) -> Rung:
    """Some of the SAE's features (latent,) against others of it, matched like fakes; `rate` (latent,) counts as theirs."""
    own, active = replace(own, rate=rate), own.active[: scene.size.prompts]
    chosen, others = own.live[real[own.live] & ~fake[own.live]], own.live[fake[own.live]]
    features = _features(own, scene, chosen, active[:, chosen])
    pool = Pool("dataset", own.directions[others], rate[others], active[:, others])
    return ladder.climb(features, pool, scene.size.features)


def _dead(own: Dictionary, scene: Scene) -> Features:
    if len(own.dead) < ladder.FEWEST_FEATURES:
        raise Unscored(f"the SAE has {len(own.dead)} dead latents: fewer than {ladder.FEWEST_FEATURES}")
    return _features(own, scene, own.dead, own.active[: scene.size.prompts, own.dead])


def _random_model(own: Dictionary, scene: Scene) -> Rung:
    """The SAE's features in a model with random weights, at the same prompts: there they mean nothing."""
    shape = (scene.size.prompts, len(own.live))
    features = _features(own, scene, own.live, np.zeros(shape, dtype=bool))
    return ladder.climb(features, scene.tempered, scene.size.features)


def _other(features: Features, scene: Scene, name: str, make: Callable[[], Dictionary]) -> Rung:
    return ladder.climb(features, make().pool(name, scene.size.prompts), scene.size.features)


def _rotated(own: Dictionary) -> Pool:
    live = own.directions[own.live]
    return Pool("rotated_dictionary", fakes.rotated_dictionary(live, generator("rotated_dictionary")))


def _sums(own: Dictionary) -> Pool:
    live = own.directions[own.live]
    return Pool("sum_of_two", fakes.sums_of_two(live, 10 * PER_PROMPT, generator("sum_of_two")))


def _ids(rung: Rung) -> Ints:
    return np.asarray(rung.real_id[0])


def _towards_normal(scene: Scene, features: Features, mixture: Rung) -> Rung:
    draw = generator("covariance_gaussian")
    pools = [fakes.towards_normal(scene.cloud, x, PER_PROMPT, draw) for x in scene.ask_all.x]
    return ladder.climb_per_prompt(features, "covariance_gaussian", torch.stack(pools), _ids(mixture))


def _active_rungs(scene: Scene, own: Dictionary) -> dict[str, Callable[[], Rung]]:
    parts = cache(lambda: active_parts(scene, own))
    whitened = partial(fakes.whitened_decompositions, scene.cloud)
    return {
        "whitened_decomposition": lambda: parts().decomposed("whitened_decomposition", whitened),
        "euclidean_decomposition": lambda: parts().decomposed(
            "euclidean_decomposition", fakes.euclidean_decompositions, FEW_TRIES
        ),
        "active_covariance_mixture": lambda: parts().mixed("active_covariance_mixture", scene.mixtures),
        "active_real_mixture": lambda: parts().mixed("active_real_mixture", scene.real_mixtures),
    }


def active_parts(scene: Scene, own: Dictionary) -> Parts:
    """Five active latents' contributions to the activation, at every prompt that has as many."""
    live = np.zeros(len(own.rate), dtype=bool)
    live[own.live] = True
    usable = own.active & live
    prompts = np.flatnonzero(usable.sum(axis=1) >= PARTS)
    if len(prompts) * PARTS < 2 * ladder.FEWEST_FEATURES:
        raise Unscored(f"{PARTS} latents are active together at {len(prompts)} of {len(usable)} prompts: too few")
    ids = np.argsort(np.where(usable, own.lots(len(usable)), 2.0), axis=1)[prompts, :PARTS]
    size = own.latents[torch.from_numpy(prompts)[:, None], torch.from_numpy(ids)] * own.norms[ids]
    parts = size[:, :, None] * own.directions[ids]
    return Parts(scene.ask.some(prompts.tolist()), scene.traits, parts, ids)


def error(own: Dictionary, scene: Scene) -> Float[Tensor, "prompt d"]:
    """(prompt, d) what the SAE's reconstruction adds to the activation."""
    return own.write(own.latents, scene.ask.x) - scene.ask.x


def _error_kl(scene: Scene, errors: Tensor) -> tuple[Floats, Floats]:
    """(prompt,) KL of the errors, and of covariance mixtures as large."""
    mixtures = torch.nn.functional.normalize(scene.mixtures.directions[: ERRORS * len(errors)], dim=1)
    found = []
    for prompt, (wrong, made) in enumerate(zip(errors, mixtures.view(len(errors), ERRORS, -1), strict=True)):
        points = scene.ask.x[prompt] + torch.cat([wrong[None], wrong.norm() * made])
        found.append(scene.ask(prompt, points).kl.double())
    kl = torch.stack(found).numpy()
    return kl[:, 0], kl[:, 1:].mean(axis=1)


def _plateaus(scene: Scene, own: Dictionary) -> tuple[Floats, Floats]:
    """(prompt,) mean plateau along covariance mixtures, around the activation and around one of like latents."""
    made = own.write(doubles(own), scene.ask.x)
    directions, angles = scene.mixtures.directions[:ERRORS], torch.from_numpy(ANGLES).float()
    found = []
    for prompt in range(len(scene.ask.x)):
        pair = []
        for centre in (scene.ask.x[prompt], made[prompt]):
            points = rotated(centre, directions, angles)
            kl = scene.ask(prompt, points.flatten(0, 1), centre).kl.view(points.shape[:2]).double().numpy()
            pair.append(plateau(ANGLES, kl).mean())
        found.append(pair)
    real, synthetic = np.array(found).T
    return real, synthetic


def doubles(own: Dictionary) -> Float[Tensor, "prompt latent"]:
    """(prompt, latent) latents with every active one swapped for one of like firing rate that contributes as much.

    Two active latents may get the same double, whose activations then add up.
    """
    live = own.live[np.lexsort((own.lot[own.live], own.rate[own.live]))]
    prompt, place = np.nonzero(own.active[:, live])
    drawn = own.lots(len(own.latents))[prompt, live[place]]
    shift = (1 + (drawn * LIKE).astype(int)) * np.where(drawn * LIKE % 1.0 < 0.5, 1, -1)
    inside = (place + shift >= 0) & (place + shift < len(live))
    other = live[np.clip(np.where(inside, place + shift, place - shift), 0, len(live) - 1)]
    contributed = own.latents[prompt, live[place]] * own.norms[live[place]] / own.norms[other].clamp(min=1e-30)
    swapped = own.latents.clone()  # what is not live has no double, and stays
    swapped[:, torch.from_numpy(live)] = 0
    return swapped.index_put((torch.from_numpy(prompt), torch.from_numpy(other)), contributed, accumulate=True)
