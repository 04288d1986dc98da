"""Hooks by name: which a model of transformer-lens can have, and whether an SAE's files say which it reads.

Nothing heavy is imported, and no model is loaded: what only a model knows is asked for once it is there.
"""

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from saebench.files import file_of, format_of, place_of
from saebench.json_files import read_json
from saebench.naming import nearest
from saebench.spec import SAESpec

EMBEDDING = "hook_embed"
USUAL = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z")
KINDS = (
    *USUAL, "hook_in", "hook_out", "hook_attn_in", "hook_mlp_in", "hook_q_input", "hook_k_input", "hook_v_input",
    "attn.hook_in", "attn.hook_out", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_rot_q", "attn.hook_rot_k",
    "attn.hook_attn_in", "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_result", "mlp.hook_in", "mlp.hook_out",
    "mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post",
    *(f"ln{place}.hook_{what}" for place in ("1", "1_post", "2", "2_post") for what in ("in", "out", "normalized", "scale")),
)  # fmt: skip
"""What most models have in a block."""
LIKE = re.compile(r"((model|transformer|gpt_neox)\.)?(blocks?|layers?|h)\.\d+\b.*|.*\bhook_.*")
"""Also as other libraries call the places in a model, so that it can be said how they are called here."""


def like_a_hook(text: str) -> bool:
    """Whether what stands behind an `@` means a hook, and not a revision."""
    return bool(LIKE.fullmatch(text))


def misnamed(hook: str) -> str:
    """Why no model can have a hook of this name, as the end of a sentence; nothing where one may have it."""
    inside = re.fullmatch(r"blocks\.\d+\.(.+)", hook)
    if hook == EMBEDDING or (inside and (inside[1] in KINDS or inside[1].rpartition(".")[2] in _mentioned())):
        return ""
    layer = found[0] if (found := re.search(r"\d+", hook)) else "8"
    guess = nearest(hook, [*(f"blocks.{layer}.{kind}" for kind in KINDS), EMBEDDING])
    wrong = f"transformer-lens has no hook {hook!r:.90}" if inside else f"hook {hook!r:.90} is not inside a block"
    return f"{wrong}.{guess} Known: blocks.N.{', '.join(USUAL)}, ...; {EMBEDDING}"


@cache
def _mentioned() -> frozenset[str]:
    """All names of hooks in transformer-lens, of rare architectures too; read as text."""
    found = importlib.util.find_spec("transformer_lens")
    folders = found.submodule_search_locations if found is not None and found.submodule_search_locations else []
    sources = [path for folder in folders for path in Path(folder).joinpath("model_bridge").rglob("*.py")]
    return frozenset(name for path in sources for name in re.findall(r"\bhook_\w+", path.read_text(encoding="utf-8")))


def unsaid(spec: SAESpec) -> bool:
    """Whether neither its name nor its files say which hook an SAE reads; False where only loading it can tell."""
    if spec.hook is not None or spec.loader != "files":
        return False
    place, form = place_of(spec), format_of(spec)
    if form == "sae_lens":
        config = _json(spec, f"{place}/cfg.json")
        inner = config.get("metadata")
        told = {**config, **(inner if isinstance(inner, dict) else {})}
        return bool(config) and not any(told.get(key) for key in ("hook_name", "hook_point"))
    if form == "dictionary_learning_1":
        trainer = _json(spec, f"{place}/config.json").get("trainer")
        return (
            isinstance(trainer, dict)
            and trainer.get("layer") is None
            and not re.search(r"\d", str(trainer.get("submodule_name")))
        )
    if form == "sparsify":
        return not re.search(r"\.\d+", place)
    if form == "params_safetensors":
        return "hf_hook_point_in" not in _json(spec, f"{place}/config.json")
    return form in ("arrays", "params_npz")


def _json(spec: SAESpec, name: str) -> dict[str, Any]:
    path = file_of(spec, name.removeprefix("/"))
    return read_json(path) if path is not None else {}
