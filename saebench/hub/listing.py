"""Which SAEs there are: families, and the rows of a pattern with width, L0, size and whether they are here."""

from tabulate import tabulate

from saebench.catalogue import registry
from saebench.catalogue.spec import SAESpec
from saebench.hub.files import here, missing
from saebench.hub.hub import gigabytes
from saebench.record.naming import shown_model
from saebench.record.wording import DASH, number

HEADER = ["name", "model", "hook", "width", "l0", "size", "cached"]
BYTES = 4
"""Per weight, as most SAEs are published."""


def listed(pattern: str) -> str:
    """A table of the SAEs that a pattern names; without one, of the families."""
    if not pattern:
        families = [
            [f.name, len(f.readers), ", ".join(f.default) or "all", f.about] for f in registry.families()
        ]  # fmt: skip
        return tabulate(families, ["family", "SAEs", "bare name means", ""], tablefmt="simple", disable_numparse=True)
    specs = registry.resolve(pattern)
    rows = tabulate([_row(spec) for spec in specs], HEADER, tablefmt="simple", disable_numparse=True)
    wrong = [f"{spec.name}: {spec.facts['unreadable']}" for spec in specs if spec.loader == "unreadable"]
    return "\n".join([rows, *([f"{len(specs)} SAEs"] if len(specs) > 1 else []), *wrong])


def _row(spec: SAESpec) -> list[str]:
    l0 = spec.facts.get("l0")
    hooks = " -> ".join(filter(None, (spec.hook, spec.hook_out)))
    values = (spec.name, spec.model and shown_model(spec.model), hooks or None, spec.d_sae, l0)
    return [*(DASH if v is None else number(v) if isinstance(v, float) else str(v) for v in values), *_storage(spec)]


def _storage(spec: SAESpec) -> tuple[str, str]:
    """Size to download, about, and whether it is in the cache."""
    if spec.loader != "files":
        return DASH, DASH
    if not missing(spec):
        return gigabytes(sum(path.stat().st_size for path in here(spec))), "yes" if spec.repo else "local"
    if spec.d_in is None or spec.d_sae is None:
        return DASH, "no"
    return f"~{gigabytes(2 * BYTES * spec.d_in * spec.d_sae)}", "no"
