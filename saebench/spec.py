"""What there is to know about an SAE before anything heavy is imported."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class SAESpec:
    """An SAE's address and facts. Facts that only its weights can tell are None until it is loaded."""

    name: str
    """What users type and read, `family/sae`."""
    loader: str
    """Module below `saebench.loaders` whose `load(spec, device)` makes the SAE."""
    location: str
    """What the loader reads: a folder, `release/sae_id`, or `package.module:callable`."""
    digest: str | None = None
    """sha256 over the weights and the configuration; None where only loading can tell."""
    revision: str | None = None
    model: str | None = None
    """Language model that the SAE reads, as `--sae-model` takes it."""
    hook: str | None = None
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

    def with_digest(self, digest: str) -> "SAESpec":
        return replace(self, digest=digest)
