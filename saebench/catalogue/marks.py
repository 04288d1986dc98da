"""What may stand behind an SAE's name: `@HOOK`, `@REVISION` and `~CONTROL`."""

import re
from dataclasses import replace

from saebench.catalogue.controls import OFFERED
from saebench.catalogue.hooks import like_a_hook, misnamed
from saebench.catalogue.spec import SAESpec
from saebench.record.naming import nearest

REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)


class UnknownSAE(ValueError):
    """A `--sae` pattern that names nothing; the message is one sentence with the nearest match."""


def at(spec: SAESpec, what: str, pattern: str) -> SAESpec:
    """An SAE at a hook, or at a revision; the hook stands last in its name, whichever was said first."""
    if like_a_hook(what):
        return _at_hook(spec, what, pattern)
    name, hook = (spec.name.removesuffix(f"@{spec.hook}"), f"@{spec.hook}") if _hooked(spec) else (spec.name, "")
    found = _at_revision(replace(spec, name=name), what, pattern)
    return replace(found, name=found.name + hook)


def _hooked(spec: SAESpec) -> bool:
    """Whether its name says the hook."""
    return spec.hook is not None and spec.name.endswith(f"@{spec.hook}")


def _at_hook(spec: SAESpec, hook: str, pattern: str) -> SAESpec:
    """What the user says holds, also where the SAE's files say another hook: its name tells."""
    if told := misnamed(hook):
        raise UnknownSAE(f"--sae {pattern}: {told}")
    if spec.loader == "control" or _hooked(spec):
        raise UnknownSAE(f"--sae {pattern}: one hook, and a control behind it, as in NAME@{hook}~random")
    if spec.hook == hook:
        return spec
    out = None if spec.hook_out == spec.hook else spec.hook_out
    return replace(spec, name=f"{spec.name}@{hook}", hook=hook, hook_out=out)


def _at_revision(spec: SAESpec, revision: str, pattern: str) -> SAESpec:
    if spec.repo is None:
        raise UnknownSAE(f"--sae {pattern}: only an SAE of the hub has revisions, and {spec.name} is not on the hub")
    if not REVISION.fullmatch(revision) or ".." in revision.split("/"):
        raise UnknownSAE(f"--sae {pattern}: {revision!r} is no branch, tag or commit")
    shown = revision[:12] if re.fullmatch("[0-9a-f]{40}", revision) else revision
    return replace(spec, name=f"{spec.name}@{shown}", revision=revision)


def control_of(spec: SAESpec, control: str, pattern: str) -> SAESpec:
    if control not in OFFERED:
        raise UnknownSAE(f"--sae {pattern}: no such control.{nearest(control, OFFERED)} Known: {', '.join(OFFERED)}")
    if spec.loader == "control":
        raise UnknownSAE(f"--sae {pattern}: {spec.name} is itself a control, and has none")
    return SAESpec(
        f"{spec.name}~{control}", "control", spec.location, model=spec.model, hook=spec.hook, hook_out=spec.hook_out,
        corpus=spec.corpus, centred=spec.centred, context_size=spec.context_size, d_in=spec.d_in, control=True,
        origin=spec,
    )  # fmt: skip
