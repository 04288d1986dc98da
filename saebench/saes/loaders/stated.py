"""What an object says of itself: by its attributes, or by a `cfg` as sae-lens, SAEBench and others have it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from saebench.catalogue.folders import scalars
from saebench.catalogue.pretrained import model_on_hub
from saebench.catalogue.spec import SAESpec
from saebench.record.naming import shown
from saebench.saes.loaders import dictionary_learning, sparsify
from saebench.saes.loaders.files import hook_of

NAMES = {
    "hook": ("hook", "hook_name"),
    "hook_out": ("hook_out", "hook_name_out"),
    "context_size": ("context_size", "ctx_len"),
    "model": ("model", "model_name", "lm_name"),
    "architecture": ("architecture",),
    "d_in": ("d_in", "activation_dim"),
    "d_sae": ("d_sae", "dict_size", "num_latents"),
    "normalisation": ("normalisation", "normalize_activations"),
    "prepend_bos": ("prepend_bos",),
}
"""Each fact of a spec, and what libraries call it."""
CONFIGURATIONS = ("cfg", "config")
ASSUMED = ("prepend_bos", "normalisation")
"""Facts that a spec has before anything is known."""
Statement = tuple[str, Any]
"""Where something is said, and what."""


def told_by(source: Any, spec: SAESpec, config: Any = None) -> SAESpec:
    """The spec with all that the object, and the `config` that came with it, say.

    Raises ValueError where two things that they say contradict each other.
    """
    places = [*_places(source), *_configuration("the configuration beside it: ", config)]
    facts = {fact: _agreed(spec, fact, list(_statements(places, fact))) for fact in NAMES}
    told = replace(spec, **{fact: value for fact, value in facts.items() if value is not None})
    if type(told.prepend_bos) is not bool:
        raise ValueError(f"{spec.name}: prepend_bos is {told.prepend_bos!r:.90}, and should be true or false")
    return _of_sae_lens(source, told) if is_sae_lens(source) else told


def is_sae_lens(source: Any) -> bool:
    """By name, since the library takes seconds to import."""
    return any(kind.__module__ == "sae_lens.saes.sae" and kind.__name__ == "SAE" for kind in type(source).__mro__)


def _of_sae_lens(sae: Any, spec: SAESpec) -> SAESpec:
    """What else its folder would tell."""
    metadata = sae.cfg.metadata
    kwargs = metadata.model_from_pretrained_kwargs or {}
    facts = scalars(metadata.to_dict(), "model_name", "hook_name", "hook_name_out", "context_size", "prepend_bos")
    return replace(spec, centred=spec.centred or bool(kwargs.get("center_writing_weights")), facts=facts)


def _agreed(spec: SAESpec, fact: str, statements: list[Statement]) -> Any:
    """What all say, and the spec with them."""
    said = getattr(spec, fact)
    if fact == "hook" and said is not None:  # what is said by name holds, whatever an object says of itself
        return said
    if said is not None and fact not in ASSUMED:
        statements = [("what it was asked for as", said), *statements]
    for where, value in statements[1:]:
        if value != statements[0][1]:
            one, other = (f"{place} says {text!r:.90}" for place, text in (statements[0], (where, value)))
            raise ValueError(shown(f"{spec.name} contradicts itself about its {fact}: {one}, {other}"))
    return statements[0][1] if statements else None


def _statements(places: list[tuple[str, Any]], fact: str) -> Iterator[Statement]:
    for where, place in places:
        for name in NAMES[fact]:
            value = _read(place, name)
            if name == "hook_name" and value is not None:
                value = hook_of(value, _read(place, "hf_hook_name"))
            if fact == "model" and isinstance(value, str):
                value = model_on_hub(value)
            if value is not None:
                yield f"{where}{name}", value


def _places(source: Any) -> Iterator[tuple[str, Any]]:
    """The object and its configurations."""
    yield from _configuration("its attribute ", source)
    for name in CONFIGURATIONS:
        yield from _configuration(f"{name}.", getattr(source, name, None))


def _configuration(where: str, config: Any) -> Iterator[tuple[str, Any]]:
    """With what sae-lens, dictionary_learning and sparsify put into it about its training."""
    if config is None:
        return
    yield where, config
    if (metadata := _read(config, "metadata")) is not None:
        yield f"{where}metadata.", metadata
    if isinstance(trainer := _read(config, "trainer"), Mapping):
        table = dict(trainer)
        yield (
            f"{where}trainer.",
            table | dictionary_learning.metadata_of(table, _read(config, "buffer") or {}, told=False),
        )
    if isinstance(place := _read(config, "hookpoint"), str):
        yield f"{where}hookpoint: ", sparsify.metadata_of(place, {}, bool(_read(config, "transcode")), told=False)


def _read(place: Any, name: str) -> Any:
    """A method such as sae-lens's `architecture` is asked."""
    if isinstance(place, Mapping):
        return place.get(name)
    value = getattr(place, name, None)
    return value() if callable(value) and name == "architecture" else value
