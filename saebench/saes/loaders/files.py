"""Weights in files, of every format that sae-lens converts, and of plain arrays.

sae-lens's converters do the reading. They download by name, without a revision: here they are handed files that are on
this machine already, whose headers were looked at, and nothing is unpickled but tensors.
"""

import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from saebench.catalogue import checking
from saebench.catalogue.folders import digest_of_files
from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.format import SUFFIXES
from saebench.catalogue.layouts.sae_lens import ARCHITECTURES, UNFINISHED, current
from saebench.catalogue.pretrained import model_on_hub
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.weights import inspect
from saebench.hub.files import digested, file_of, format_of, here, missing, place_of
from saebench.hub.hub import one_line
from saebench.record.json_files import read_json
from saebench.record.naming import shown
from saebench.record.places import fixtures_dir
from saebench.record.score import Unscored
from saebench.saes.loaders.build import checkpoint, pickled_header
from saebench.saes.loaders.normalised import normalised
from saebench.saes.sae import LoadedSAE

UNREGISTERED = "local/files"
AS_SAVED = dict.fromkeys(("batchtopk", "matryoshka", *UNFINISHED), "jumprelu")
"""Architectures that become another one when they are saved."""


def load(spec: SAESpec, device: str) -> LoadedSAE:
    """Read an SAE. Its hook and all that its configuration tells are added to what is known."""
    form = format_of(spec)
    if form is None or missing(spec):
        raise ValueError(f"{spec.name}: not on this machine: {', '.join(missing(spec))}")
    for path in here(spec):
        if path.suffix in SUFFIXES:
            inspect(path)
    with _sentences(spec, form), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sizes = checking.check(form, place_of(spec), partial(file_of, spec), pickled_header)
        _check_facts(spec, {"d_in": sizes.get("in"), "d_sae": sizes.get("sae")})
        sae = _read(form, spec, device)
        _check_facts(spec, {"architecture": sae.cfg.architecture()})
    return _loaded(sae, spec, device)


def _read(form: str, spec: SAESpec, device: str) -> Any:
    """The format's own reader, or sae-lens's converter."""
    if not (reader := FORMATS[form].reader):
        return _converted(form, spec, device)
    return import_module(f"saebench.saes.loaders.{reader}").read(spec, device)


@contextmanager
def _sentences(spec: SAESpec, form: str) -> Iterator[None]:
    """Say in one sentence why an SAE cannot be read."""
    try:
        yield
    except (Unscored, OSError, ImportError):
        raise
    except UserWarning:
        reason = "it was trained on activations normalised by 'expected_average_only_in', and their scale is not in its files"
        raise ValueError(f"{spec.name}: {reason}") from None
    except pickle.UnpicklingError:
        reason = "its checkpoint holds code or objects beside tensors, which are never loaded"
        raise ValueError(f"{spec.name}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{spec.name}: {shown(str(error))}") from error
    except Exception as error:  # a file of another shape than its format has fails in many ways
        message = f"{spec.name} cannot be read as {form}: {type(error).__name__}: {one_line(error)}"
        raise ValueError(message) from error


def _check_facts(spec: SAESpec, found: dict[str, Any]) -> None:
    """Hold what a user's family file says against the SAE; the suite's own are held against the libraries, in tests."""
    if (fixtures_dir() / f"{spec.name.partition('/')[0]}.toml").is_file():
        return
    for fact, value in found.items():
        said = getattr(spec, fact)
        known = fact != "architecture" or said in {*ARCHITECTURES, *AS_SAVED}
        if None not in (said, value) and known and AS_SAVED.get(said, said) != value:
            raise ValueError(f"{fact} is said to be {said}, and by its files it is {value}: correct its family file")


def _loaded(sae: Any, spec: SAESpec, device: str) -> LoadedSAE:
    sae.eval().requires_grad_(False)
    sae.turn_off_forward_pass_hook_z_reshaping()
    _check_weights(sae, spec)
    digest = spec.digest or digest_of_files(digested(spec))
    try:
        return LoadedSAE(_told(spec, sae.cfg), normalised(sae), digest, device)
    except ValueError as error:
        named = str(error).startswith(spec.name)
        raise ValueError(str(error) if named else f"{spec.name}: {error}") from error


def _told(spec: SAESpec, config: Any) -> SAESpec:
    """The spec with what it leaves open filled in by the SAE's own configuration."""
    known = config.metadata
    model = known.model_name
    told = {
        "model": model_on_hub(model) if isinstance(model, str) and model else model, "hook": hook_of(known.hook_name, known.hf_hook_name),
        "hook_out": known.hook_name_out, "context_size": known.context_size,
    }  # fmt: skip
    told = {key: value for key, value in told.items() if getattr(spec, key) is None}
    centred = bool((known.model_from_pretrained_kwargs or {}).get("center_writing_weights"))
    return replace(
        spec, **told, prepend_bos=known.prepend_bos is not False, normalisation=config.normalize_activations,
        architecture=spec.architecture or config.architecture(), d_in=config.d_in, d_sae=config.d_sae,
        centred=spec.centred or centred,
    )  # fmt: skip


def hook_of(name: str | None, in_transformers: str | None) -> str | None:
    """Where an SAE reads. For the input of Gemma 3's MLP, sae-lens's name means what goes into the norm before it."""
    if name and name.endswith(".hook_mlp_in") and str(in_transformers).endswith("pre_feedforward_layernorm.output"):
        return name.replace(".hook_mlp_in", ".ln2.hook_out")
    return name


def _check_weights(sae: Any, spec: SAESpec) -> None:
    import torch

    if type(k := getattr(sae.cfg, "k", 1)) is not int or not 0 < k <= sae.cfg.d_sae:
        raise ValueError(f"{spec.name}: k is {k!r:.80}, and the SAE has {sae.cfg.d_sae} latents")
    for name, value in sae.state_dict().items():
        # The sum takes no memory, and is finite unless something in it is not, or all of it is huge.
        if not torch.isfinite(value.sum()) and (bad := int((~torch.isfinite(value)).sum())):
            raise ValueError(f"{spec.name}: {name} holds {bad} values of {value.numel()} that are NaN or infinite")


def _converted(form: str, spec: SAESpec, device: str) -> Any:
    """The SAE as sae-lens makes it, with its own overrides where it is in its registry."""
    from sae_lens import SAE

    release, _, sae_id = (spec.release or "").partition("/")
    with _reading(partial(file_of, spec), listed=bool(release)), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        # sae-lens goes on without the scale that activations had in training, and only warns.
        warnings.filterwarnings("error", message="norm_scaling_factor not found")
        return SAE.from_pretrained(
            release or UNREGISTERED, sae_id or place_of(spec), device=device, dtype="float32",
            converter=partial(_convert, form, spec),
        )  # fmt: skip


def _convert(
    form: str, spec: SAESpec, *, repo_id: str, folder_name: str, device: str, cfg_overrides: dict[str, Any], **_: Any
) -> tuple[dict[str, Any], dict[str, Any], None]:
    """sae-lens's converter, told the shapes that are in the file where it would take them from a name."""
    from sae_lens.loading.pretrained_sae_loaders import NAMED_PRETRAINED_SAE_LOADERS

    if form == "sae_lens":
        return (*_own(spec, device, cfg_overrides), None)
    if form in ("gemma_2", "gemma_2_transcoder"):
        cfg_overrides = {**cfg_overrides, **_shapes(here(spec)[0], form)}
    config, weights, _log_sparsity = NAMED_PRETRAINED_SAE_LOADERS[form](
        repo_id=repo_id, folder_name=folder_name, device=device, force_download=False, cfg_overrides=cfg_overrides
    )
    return config, weights, None


def _own(spec: SAESpec, device: str, overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """sae-lens's own format; versions before 6 are told by the table that they lack, and not by a number."""
    from sae_lens.loading.pretrained_sae_loaders import read_sae_components_from_disk

    config_path, path = here(spec)[:2]
    config = {"finetuning_scaling_factor": False, **current(read_json(config_path)), **overrides}
    config, weights = read_sae_components_from_disk(config, path, device)
    if "log_threshold" in weights:
        weights["threshold"] = weights.pop("log_threshold").exp()
    return config, weights


def _shapes(path: Path, form: str) -> dict[str, int]:
    shape = {name.lower(): array.shape for name, array in inspect(path).items()}
    (d_in, d_sae), (_, d_out) = shape["w_enc"], shape["w_dec"]
    return {"d_in": d_in, "d_sae": d_sae, **({"d_out": d_out} if form == "gemma_2_transcoder" else {})}


@contextmanager
def _reading(find: Callable[[str], Path | None], *, listed: bool) -> Iterator[None]:
    """Let sae-lens's converters find their files on this machine, and only there.

    Its registry, which takes it over a second to read, is empty to it unless the SAE is `listed` there.
    """
    import torch
    from huggingface_hub.errors import LocalEntryNotFoundError
    from sae_lens.loading import pretrained_sae_loaders as converters
    from sae_lens.loading import pretrained_saes_directory as registry
    from sae_lens.saes import sae as in_saes

    def local(repo_id: str, filename: str, subfolder: str | None = None, **_: Any) -> str:
        path = find(f"{subfolder}/{filename}" if subfolder else filename)
        if path is None:
            raise LocalEntryNotFoundError(filename)  # which the converters take for an optional file
        return str(path)

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        return {name: list(array.shape) for name, array in inspect(Path(local(repo_id, filename))).items()}

    with ExitStack() as patches:
        patches.enter_context(patch.object(converters, "hf_hub_download", local))
        patches.enter_context(patch.object(converters, "get_safetensors_tensor_shapes", shapes))
        patches.enter_context(patch.object(torch, "load", checkpoint))
        for module in () if listed else (converters, registry, in_saes):
            patches.enter_context(patch.object(module, "get_pretrained_saes_directory", dict))
        yield
