"""What there is to know about an SAE before anything heavy is imported."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SAESpec:
    """An SAE's address and facts. Facts that only its weights can tell are None until it is loaded."""

    name: str
    """What users type and read, `family/sae`."""
    loader: str
    """Module below `saebench.loaders` whose `load(spec, device)` makes the SAE."""
    location: str
    """What the loader reads: a folder or file, its path in `repo`, or `package.module:callable`."""
    repo: str | None = None
    """Repository on the hub; None for what lies on this machine."""
    revision: str | None = None
    """Branch, tag or commit of the repository; its default branch where none is named."""
    format: str | None = None
    """Which files it consists of and how they are read: a name in `saebench.formats`."""
    release: str | None = None
    """`RELEASE/SAE_ID` of sae-lens's registry, where it is in there."""
    digest: str | None = None
    """sha256 over the weights and the configuration; None where only loading can tell."""
    model: str | None = None
    """Language model that the SAE reads, as `--sae-model` takes it."""
    corpus: str | None = None
    """Texts that it is read on, as `--sae-corpus` takes them; None for the model's own."""
    hook: str | None = None
    hook_out: str | None = None
    """Where a transcoder writes; None for an SAE, which reconstructs what it reads."""
    centred: bool = False
    """Whether it was trained on activations minus their mean over dimensions (transformer-lens's centred weights)."""
    context_size: int | None = None
    """Tokens per context that the SAE was trained on, BOS included."""
    prepend_bos: bool = True
    normalisation: str = "none"
    """sae-lens's `normalize_activations`; applied once, in the loader."""
    architecture: str | None = None
    d_in: int | None = None
    d_sae: int | None = None
    control: bool = False
    """Made to be worse than a real SAE: shown apart, and never ranked."""
    facts: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    """What its maker recorded: l0, fvu, tokens seen, seed, commit."""


def transcodes(spec: SAESpec) -> str:
    """Why a property that asks about one place has no score for a transcoder."""
    return f"a transcoder reads {spec.hook} and writes {spec.hook_out}: there is no one place to ask about"
