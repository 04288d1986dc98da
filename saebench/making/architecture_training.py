"""An architecture becomes an SAE: a training class of sae-lens, a function that trains, or one of the zoo's."""

import importlib
import inspect
import operator
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.making.training import classes_of, fit, training_sae
from saebench.record.naming import nearest, shown
from saebench.record.score import Unscored
from saebench.saes.sae import SAE

Trained = Any
PARAMETERS = ("activations", "d_in", "d_sae", "l0", "seed")
FORM = f"a TrainingSAE of sae-lens or a function ({', '.join(PARAMETERS)}) that returns an SAE"
APART = 0.1
"""Share of the activations' variance that what is saved may explain less than what was trained."""


def imported(location: str) -> Any:
    """The class or function of `package.module:attribute`, or the class of one of the zoo's architectures.

    Raises ValueError with one sentence where there is none, or it is neither.
    """
    if location in ARCHITECTURES:
        return classes_of(location)[0]
    module_name, _, attribute = location.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(_told(location, "importing it", error)) from error
    try:
        made = operator.attrgetter(attribute)(module)
    except AttributeError:
        hint = nearest(attribute, dir(module))
        raise ValueError(f"--sae-arch {location}: module {module_name} has no {attribute}.{hint}") from None
    _check(made, location)
    return made


def _check(made: Any, location: str) -> None:
    if is_class(made):
        config_of(made, location)
        return
    if isinstance(made, type) or not callable(made):
        what = f"the class {made.__name__}" if isinstance(made, type) else f"of type {type(made).__name__}"
        raise ValueError(f"--sae-arch {location} is {what}, and should be {FORM}")
    try:
        inspect.signature(made).bind(*PARAMETERS)
    except TypeError as error:
        raise ValueError(f"--sae-arch {location} cannot be called so: {error}; it should be {FORM}") from None


def is_class(made: Any) -> bool:
    from sae_lens import TrainingSAE

    return isinstance(made, type) and issubclass(made, TrainingSAE)


def config_of(made: type[Any], location: str) -> type[Any]:
    """Class of a TrainingSAE's configuration: what its __init__ takes as `cfg`, or what it is generic over."""
    for base in made.__mro__:
        init = vars(base).get("__init__")
        generic = [argument for origin in vars(base).get("__orig_bases__", ()) for argument in get_args(origin)]
        for config in (_annotated(init), *generic):
            if isinstance(config, type) and is_dataclass(config):
                return config
    raise ValueError(f"--sae-arch {location}: its __init__ does not say which configuration `cfg` is of")


def _annotated(init: object) -> object:
    """What an __init__ says that its `cfg` is."""
    try:
        return get_type_hints(init).get("cfg") if inspect.isfunction(init) else None
    except NameError:  # a name that is imported for type checkers alone
        return None


@dataclass(frozen=True)
class Order:
    """What is to be trained, beside its architecture."""

    l0: int
    seed: int
    samples: int
    """Activations to train on; where there are fewer, they come again in another order."""
    d_sae: int
    device: str
    settings: Mapping[str, float | str] = field(default_factory=dict)
    """What the configuration of a class says otherwise than the zoo's."""


def train(location: str, rows: Tensor, order: Order) -> Trained:
    """Train one SAE on activations (row, d_in): the same seed, the same SAE.

    Returns a sae-lens TrainingSAE, or what the function returned. Raises ValueError with one sentence, in which the
    place is named, where the architecture's own code raises.
    """
    made = imported(location)
    devices = [torch.device(order.device)] if "cuda" in order.device else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(order.seed)
        try:
            return (_by_class if is_class(made) else _by_function)(made, location, rows, order)
        except Exception as error:
            raise ValueError(_told(location, "training", error)) from error


def _by_class(made: type[Any], location: str, rows: Tensor, order: Order) -> Trained:
    sae = training_sae(
        made, config_of(made, location), order.l0, rows.shape[1], order.d_sae, order.device, order.settings
    )
    fit(sae, rows, order.l0, order.seed, order.samples)
    return sae.eval()


def _by_function(made: Callable[..., Any], location: str, rows: Tensor, order: Order) -> Trained:
    x = rows[: order.samples].float().to(order.device)
    sae = made(x, rows.shape[1], order.d_sae, order.l0, order.seed)
    if not isinstance(sae, SAE):
        raise TypeError(f"it returned a {type(sae).__name__} without encode")
    return sae


def compact(rows: Tensor) -> Tensor:
    """Activations in half precision, where none is too large for it."""
    return rows.half() if rows.half().isfinite().all() else rows


def check_finite(weights: dict[str, Tensor]) -> None:
    """Raise a broken Unscored if training diverged."""
    for name, value in weights.items():
        if not value.isfinite().all():
            raise Unscored(f"training diverged: {name} holds values that are NaN or infinite", broken=True)


def _told(location: str, what: str, error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return shown(f"--sae-arch {location}: {what} raised {type(error).__name__} at {where}: {error}")


@torch.no_grad()
def check_saved(location: str, trained: Trained, saved: Any, x: Tensor) -> None:
    """Raise ValueError if what is saved reconstructs x (row, d_in) worse than what was trained."""
    variance = (x - x.mean(0)).square().sum()
    made, kept = (float((sae.decode(sae.encode(x)) - x).square().sum() / variance) for sae in (trained, saved))
    # Architectures that choose among a whole batch in training do a little otherwise with a threshold.
    if not kept < made + APART:
        raise ValueError(
            f"--sae-arch {location}: the SAE that sae-lens saves is not the one that was trained: it leaves {kept:.3g} of"
            f" the variance unexplained, in training {made:.3g}; override process_state_dict_for_saving_inference, and"
            " get_inference_config_class of its configuration where the forward pass differs"
        )
