"""Hooks by name: which a model of transformer-lens can have. No model is loaded."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from saebench.record.naming import nearest

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
