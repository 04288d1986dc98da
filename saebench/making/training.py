"""How one SAE is trained with sae-lens's `SAETrainer`: those of the zoo, controls and architectures alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.catalogue.controls import Decoder
from saebench.record.stages import progress

if TYPE_CHECKING:
    from sae_lens import SAETrainer


Data = Literal[
    "world",
    "world_and_telegrams",
    "texts",
    "random_model",
    "random_blocks",
    "permuted_weights",
    "step_0",
    "shuffled_rows",
    "toy",
]
BATCH = 1024
SAMPLES = 2_500_000
LR, LR_END = 1.5e-3, 1e-4
FASTEST = 4.0
"""By how much the learning rate is larger where less is trained than the zoo is."""
SOFT = 0.8
CONTROL_EVERY = 10
CONTROL_GAIN = 0.08
ANNEAL_FROM, ANNEAL_UNTIL = 12.0, 0.5
"""The L0 aimed at falls from this many times the wanted one, over this share of training: no latent dies of haste."""


@dataclass(frozen=True)
class Member:
    """One SAE: its architecture, the mean number of active latents it aims at, and what it was trained on."""

    name: str
    architecture: str
    l0: int
    d_sae: int = 1024
    seed: int = 0
    data: Data = "world"
    decoder: Decoder = "free"
    settings: tuple[tuple[str, float | str], ...] = ()
    """What its configuration says otherwise than `_settings`."""


TIED = "tied-"
"""Before the name of an architecture: with one matrix, `saebench.making.tied`."""
PURSUIT = "matching_pursuit"
SAE_LENS_NAMES = {"matryoshka": "matryoshka_batchtopk"}


def train_member(member: Member, activations: Tensor, samples: int = SAMPLES) -> Any:
    """Train one SAE on `activations` (row, d_in), where they lie, and return the sae-lens TrainingSAE.

    The same seed, the same SAE.
    """
    device = str(activations.device)
    with torch.random.fork_rng(devices=[device] if "cuda" in device else []):
        torch.manual_seed(member.seed)
        if member.architecture.removeprefix(TIED) not in (*ARCHITECTURES, PURSUIT):
            known = ", ".join((*ARCHITECTURES, PURSUIT))
            raise ValueError(f"{member.name}: no architecture {member.architecture!r}; known: {known}")
        sae = training_sae(
            *classes_of(member.architecture),
            member.l0,
            activations.shape[1],
            member.d_sae,
            device,
            dict(member.settings),
        )
        hold = hold_decoder(sae, member.decoder)
        fit(sae, activations, member.l0, member.seed, samples, hold)
        return sae


def fit(
    sae: Any, activations: Tensor, l0: int, seed: int, samples: int, hold: Callable[[], None] = lambda: None
) -> None:
    """Train a sae-lens TrainingSAE where it lies, on `activations` (row, d_in); `hold` is called between batches."""
    from sae_lens import SAETrainer
    from sae_lens.config import SAETrainerConfig

    config = SAETrainerConfig(
        total_training_samples=samples, train_batch_size_samples=BATCH, lr=LR * min((SAMPLES / samples) ** 0.5, FASTEST), lr_end=LR_END,
        lr_scheduler_name="constant", lr_warm_up_steps=50, lr_decay_steps=samples // BATCH // 3,
        n_batches_for_norm_estimate=20, dead_feature_window=200, feature_sampling_window=500, device=sae.cfg.device,
    )  # fmt: skip
    provider = SteeredBatches(activations, l0, seed, samples // BATCH, hold)
    trainer = SAETrainer(cfg=config, sae=sae, data_provider=provider)
    provider.trainer = trainer
    trainer.fit()
    hold()


def hold_decoder(sae: Any, decoder: Decoder) -> Callable[[], None]:
    """Freeze an SAE's decoder as it is now, or give what brings its directions back to within `SOFT` of it."""
    start = torch.nn.functional.normalize(sae.W_dec.detach().clone(), dim=1)
    if decoder == "frozen":
        sae.W_dec.requires_grad_(False)

    def hold() -> None:
        if decoder == "soft_frozen":
            with torch.no_grad():
                sae.W_dec.copy_(within_cosine(sae.W_dec, start, SOFT))

    return hold


def within_cosine(rows: Tensor, start: Tensor, least: float) -> Tensor:
    """Rows (n, d) turned towards unit rows `start` (n, d) as far as their cosine needs to be `least`; norms stay."""
    along = (rows * start).sum(dim=1, keepdim=True)
    across = torch.nn.functional.normalize(rows - along * start, dim=1)
    norms = rows.norm(dim=1, keepdim=True)
    turned = torch.nn.functional.normalize(least * start + (1 - least**2) ** 0.5 * across, dim=1)
    return torch.where(along < least * norms, norms * turned, rows)


def classes_of(architecture: str) -> tuple[type[Any], type[Any]]:
    """The sae-lens class that trains one of `ARCHITECTURES`, tied or not, or matching pursuit, and its configuration's."""
    from sae_lens.registry import get_sae_training_class

    from saebench.making.tied import tied

    own = architecture.removeprefix(TIED)
    made, config = get_sae_training_class(SAE_LENS_NAMES.get(own, own))
    return (made if own == architecture else tied(made)), config


def training_sae(
    made: type[Any], config: type[Any], l0: int, d_in: int, d_sae: int, device: str = "cpu",
    more: Mapping[str, float | str] | None = None,
) -> Any:  # fmt: skip
    """A sae-lens TrainingSAE before training, of a class and its configuration's class, as the zoo configures it.

    A configuration that extends one of the zoo's is set like that; one that has a `k`, to the L0. `more` has the last word.
    """
    settings = {"d_in": d_in, "d_sae": d_sae, "device": device, "normalize_activations": "expected_average_only_in"}
    if any(field.name == "k" for field in fields(config)):
        settings["k"] = l0
    # From the general to the special: Matryoshka's configuration extends that of batch top-k.
    for architecture in ARCHITECTURES:
        if issubclass(config, classes_of(architecture)[1]):
            settings |= _settings(architecture, d_sae)
    return made(config(**settings | dict(more or {})))


def _settings(architecture: str, d_sae: int) -> dict[str, Any]:
    match architecture:
        case "standard" | "gated":
            return {"l1_coefficient": 2.0}
        case "jumprelu":
            return {
                "l0_coefficient": 1.0, "jumprelu_sparsity_loss_mode": "tanh", "jumprelu_ste_to_input": True,
                "jumprelu_init_threshold": 0.1, "jumprelu_bandwidth": 0.5, "pre_act_loss_coefficient": 1e-2,
            }  # fmt: skip
        case "batchtopk":
            return {"topk_threshold_lr": 0.05}
        case "matryoshka":
            return {"matryoshka_widths": [d_sae // 16, d_sae // 4, d_sae]}
    return {}


class SteeredBatches:
    """Shuffled batches of activations; between them, steers the sparsity coefficient towards the wanted L0.

    Architectures that fix their own L0 (top-k and its relatives) have no such coefficient and are left alone.
    """

    trainer: "SAETrainer[Any, Any]"

    def __init__(self, activations: Tensor, l0: int, seed: int, steps: int, hold: Callable[[], None]) -> None:
        self.activations, self.l0, self.steps, self.hold = activations, l0, steps, hold
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = self._rows()
        self.fired = self.seen = 0.0

    def _rows(self) -> Iterator[Tensor]:
        while True:
            order = torch.randperm(len(self.activations), generator=self.generator)
            yield from order[: len(order) // BATCH * BATCH].view(-1, BATCH)

    def __iter__(self) -> "SteeredBatches":
        return self

    def __next__(self) -> Tensor:
        self.hold()
        step = self.trainer.n_training_steps
        progress(step, self.steps)
        if step and step % CONTROL_EVERY == 0:
            self._steer(step / self.steps)
        return self.activations[next(self.rows)].float()

    def _steer(self, progress: float) -> None:
        aim = self.l0 * ANNEAL_FROM ** max(0.0, 1 - progress / ANNEAL_UNTIL)
        fired, seen = self.trainer.act_freq_scores.sum().item(), float(self.trainer.n_frac_active_samples)
        if seen > self.seen:
            l0 = (fired - self.fired) / (seen - self.seen)
            factor = max(0.8, min(1.25, (max(l0, 0.1) / aim) ** CONTROL_GAIN))
            for name in {"l1", "l0"} & set(self.trainer.coefficient_schedulers):
                scheduler = self.trainer.coefficient_schedulers[name]
                scheduler.final_value *= factor
                scheduler.current_value = scheduler.final_value
        self.fired, self.seen = fired, seen
