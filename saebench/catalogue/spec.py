"""What there is to know about an SAE before anything heavy is imported."""

from dataclasses import dataclass, field, fields

from saebench.record.score import Unscored

TEXTS = ("name", "model", "corpus", "hook", "hook_out", "normalisation", "architecture", "revision", "repo")
NUMBERS = ("context_size", "d_in", "d_sae")
LONGEST, LARGEST = 300, 2**40
READING = (
    "format", "release", "hook_out", "context_size", "prepend_bos", "normalisation", "architecture", "control",
)  # fmt: skip
"""What scores depend on beside an SAE's weights, its hook, model and texts, which a score names itself."""
TRAINING = ("training_architecture", "trained_on", "decoder", "aimed_l0", "tokens_seen", "seed")
"""Of the recorded facts, those by which controls and twins of an SAE are found."""


@dataclass(frozen=True)
class SAESpec:
    """An SAE's address and facts. Facts that only its weights can tell are None until it is loaded.

    Raises ValueError with one sentence if what a file or an object said cannot be: names end up in terminals and
    leaderboards, numbers in shapes.
    """

    name: str
    """What users type and read, `family/sae`."""
    loader: str
    """Module below `saebench.saes.loaders` whose `load(spec, device)` makes the SAE."""
    location: str
    """What the loader reads: a folder or file, its path in `repo`, or `package.module:callable`."""
    repo: str | None = None
    """Repository on the hub; None for what lies on this machine."""
    revision: str | None = None
    """Branch, tag or commit of the repository; its default branch where none is named."""
    format: str | None = None
    """Which files it consists of and how they are read: a name in `saebench.catalogue.formats`."""
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
    origin: "SAESpec | None" = None
    """The SAE that it is a control of, where it is made for one."""
    control: bool = False
    """Made to be worse than a real SAE: shown apart, and never ranked."""
    facts: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    """What its maker recorded: l0, fvu, tokens seen, seed, commit."""

    def __post_init__(self) -> None:
        for name in TEXTS:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.isprintable() and len(value) <= LONGEST):
                raise ValueError(f"{str(self.name)[:90]}: {name} is {value!r:.90}, and should be a short line of text")
        for name in NUMBERS:
            value = getattr(self, name)
            if value is not None and not (type(value) is int and 0 < value < LARGEST):
                raise ValueError(f"{self.name}: {name} is {value!r:.90}, and should be a positive whole number")

    @property
    def own(self) -> "SAESpec":
        """The SAE that a control is made for; others are their own."""
        return self.origin or self

    def reading(self) -> dict[str, str | int | float | bool | None]:
        """How it is read, by name, as far as it is not read as an SAE usually is: part of the identity of its scores."""
        said = {name: getattr(self, name) for name in READING}
        said |= {name: self.facts.get(name) for name in TRAINING}
        return {name: value for name, value in said.items() if value not in (None, USUAL.get(name))}


USUAL = {field.name: field.default for field in fields(SAESpec)}


def transcodes(spec: SAESpec) -> str:
    """Why a property that asks about one place has no score for a transcoder."""
    return f"a transcoder reads {spec.hook} and writes {spec.hook_out}: there is no one place to ask about"


def check_one_place(spec: SAESpec) -> None:
    """Raise Unscored for an SAE that reads in one place and writes in another."""
    if spec.hook_out not in (None, spec.hook):
        raise Unscored(transcodes(spec))
