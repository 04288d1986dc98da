"""Plain files of arrays, and the formats that are little more: Gemma Scope, Gemma Scope 2, Hanna's transcoders."""

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import Fields
from saebench.catalogue.layouts.format import Config, Format, Read

SMALL = [("W_enc", "w_enc"), ("W_dec", "w_dec")]
"""Of either spelling a file has one."""
WEIGHTS = {
    "W_enc": "in sae", "w_enc": "in sae", "W_dec": "sae out", "w_dec": "sae out", "b_enc": "sae", "b_dec": "out",
}  # fmt: skip
SKIPS = {"W_skip": "out in", "affine_skip_connection": "in out"}
ACTIVATIONS = {"threshold": "sae", "log_threshold": "sae", "k": "|one"}
LONE = Arrays({**WEIGHTS, **ACTIVATIONS, **SKIPS}, {}, [*SMALL, tuple(ACTIVATIONS), tuple(SKIPS)])
SCOPE = Arrays({**WEIGHTS, "threshold": "sae"}, {}, SMALL)
ABBREVIATED = [
    (f"{letter}_{part}", f"{letter}{part}", f"{letter}_{part[0]}") for letter in "wb" for part in ("enc", "dec")
]
SCOPE_TRANSCODER = Arrays(
    {
        **dict.fromkeys(("W_enc", *ABBREVIATED[0]), "in sae"), **dict.fromkeys(("W_dec", *ABBREVIATED[1]), "sae out"),
        **dict.fromkeys(ABBREVIATED[2], "sae"), **dict.fromkeys(ABBREVIATED[3], "out"), "threshold": "sae",
    },
    {},
    [("W_enc", *ABBREVIATED[0]), ("W_dec", *ABBREVIATED[1]), *ABBREVIATED[2:]],
)  # fmt: skip
SCOPE_2 = Arrays({**WEIGHTS, "threshold": "sae", "affine_skip_connection": "in out"}, {}, SMALL)
HANNA = Arrays({"W_enc": "sae in", "W_dec": "sae out", "b_enc": "sae", "b_dec": "out"}, {})
SCOPE_2_CONFIG = Fields(
    obeyed={
        "model_name": str,
        "hf_hook_point_in": str,
        "hf_hook_point_out": str | None,
        "width": int | None,
        "affine_connection": bool | None,
    },
    harmless=("l0",),
    only={"architecture": ("jump_relu",), "type": ("sae", "transcoder")},
)


def _check(config: Config, arrays: set[str]) -> None:
    told, has = config.get("affine_connection"), "affine_skip_connection" in arrays
    if told is not None and told is not has:
        raise ValueError(
            f"affine_connection is {told!r:.60}, and there is {'an' if has else 'no'} affine_skip_connection"
        )


_SCOPE_2_SIZES = {"width": "sae"}
_SCOPE_2_FILES = ("{path}/params.safetensors",)
_OPTIONAL = ("{path}/config.json",)
_CONFIGS = {"{path}/config.json": SCOPE_2_CONFIG}


def _never(place: str, read: Read) -> bool:
    """Arrays alone say nothing of a hook."""
    return True


def _unsaid(place: str, read: Read) -> bool:
    return "hf_hook_point_in" not in read("{path}/config.json")


FORMATS = {
    "arrays": Format(("{path}",), LONE, reader="arrays", unsaid=_never),
    "params_npz": Format(("{path}/params.npz",), LONE, reader="arrays", tried=5, unsaid=_never),
    "params_safetensors": Format(
        _SCOPE_2_FILES, LONE, _OPTIONAL, _CONFIGS, _SCOPE_2_SIZES, _check, reader="arrays", tried=4, unsaid=_unsaid
    ),
    "gemma_2": Format(("{path}/params.npz",), SCOPE),
    "gemma_2_transcoder": Format(("{path}/params.npz",), SCOPE_TRANSCODER),
    "gemma_3": Format(_SCOPE_2_FILES, SCOPE_2, _OPTIONAL, _CONFIGS, _SCOPE_2_SIZES, _check),
    "mwhanna_transcoder": Format(("{path}",), HANNA, reader="arrays"),
}
