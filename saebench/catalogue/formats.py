"""File formats of SAEs: which files each consists of. How they are read is told in `saebench.saes.loaders`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Format:
    """Files below a repository or a folder.

    `{path}` is the SAE's own place in it, `{stem}` that without suffix, `{parent}` the folder that it is in.
    """

    files: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def roles(self) -> list[str]:
        """What each file is to the SAE, whatever the SAE itself is called."""
        return [PurePosixPath(file).name for file in self.files]

    def required(self, path: str) -> list[str]:
        return [filled(file, path) for file in self.files]

    def all(self, path: str) -> list[str]:
        return [filled(file, path) for file in (*self.files, *self.optional)]


def filled(file: str, path: str) -> str:
    """The name of a file of the SAE that is at a path."""
    parent = "" if PurePosixPath(path).parent == PurePosixPath(".") else f"{PurePosixPath(path).parent}/"
    found = file.replace("{stem}", path.removesuffix(PurePosixPath(path).suffix)).replace("{parent}/", parent)
    return found.replace("{path}", path).removeprefix("/")


FORMATS: dict[str, Format] = {
    "sae_lens": Format(("{path}/cfg.json", "{path}/sae_weights.safetensors")),
    "gemma_2": Format(("{path}/params.npz",)),
    "gemma_2_transcoder": Format(("{path}/params.npz",)),
    "gemma_3": Format(("{path}/params.safetensors",), ("{path}/config.json",)),
    "dictionary_learning_1": Format(("{path}/ae.pt", "{path}/config.json")),
    "sparsify": Format(("{path}/sae.safetensors", "{path}/cfg.json"), ("{parent}/config.json",)),
    "llama_scope": Format(("{path}/hyperparams.json", "{path}/checkpoints/final.safetensors")),
    "llama_scope_r1_distill": Format(("{path}/config.json", "{path}/sae_weights.safetensors")),
    "connor_rob_hook_z": Format(("{path}", "{stem}_cfg.json")),
    "qwen_scope": Format(("{path}",)),
    "goodfire": Format(("{path}",)),
    "deepseek_r1": Format(("{path}",)),
    "mwhanna_transcoder": Format(("{path}",)),
    "arrays": Format(("{path}",)),
    "params_npz": Format(("{path}/params.npz",)),
    "params_safetensors": Format(("{path}/params.safetensors",), ("{path}/config.json",)),
}
"""By the name of sae-lens's converter; the last three are files of W_enc, W_dec, b_enc, b_dec and threshold."""
UNSUPPORTED = {
    "temporal": "it reads whole contexts, and cannot be told about one token at a time",
    "mntss_clt_layer_transcoder": "a cross-layer transcoder writes to all later layers, which is not evaluated here",
}
HANNA = "mwhanna_transcoder"
ARRAYS = (HANNA, "arrays", "params_npz", "params_safetensors")
FOLDERS = ("sae_lens", "sparsify", "dictionary_learning_1", "params_safetensors", "params_npz")
"""What a folder may turn out to be, in the order of trying."""
SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")
"""Of a lone file with an SAE's arrays."""


def detect(path: str, there: Callable[[str], bool]) -> str | None:
    """The format of an SAE by the files that are there; `path` is its place below what `there` looks into."""
    if path.endswith(SUFFIXES):
        return "arrays" if there(path) else None
    return next((name for name in FOLDERS if all(map(there, FORMATS[name].required(path)))), None)


def detect_folder(folder: Path) -> str | None:
    """The format of a local folder or file."""
    return detect(folder.name, lambda file: (folder.parent / file).is_file())
