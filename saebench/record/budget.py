"""How much a run reads, asks and trains: all sizes that `--sae-budget` stands for, in one place."""

from dataclasses import dataclass

CONTEXT = 256
"""Tokens per document, or twice the SAE's training context where that is more; never more than the model has."""
SHORTEST = 16
"""Least number of tokens that a user may ask for: in fewer, a language model knows nothing yet."""


@dataclass(frozen=True)
class Size:
    """How much is asked: features per rung, prompts at which all are asked about, and prompts for what is cheap."""

    features: int
    prompts: int
    more_prompts: int


@dataclass(frozen=True)
class Budget:
    """The sizes of one run. What is larger is read, asked and trained more; nothing is read that a smaller one is not."""

    documents: int
    """Texts of the corpus."""
    prefixes: int
    """Texts after which each word is read."""
    words: int | None
    """Most words of a concept set; None for all."""
    game: Size
    control_samples: int
    """Activations that a control SAE is trained on; with 0 only controls that lie ready take part."""
    architecture_samples: int
    """Activations that each SAE of `--sae-arch` is trained on."""
    widest: int
    """Most latents of an SAE of `--sae-arch`."""
    samples: int
    """Of a toy world."""
    latents: int
    """Latents that are explained, taken apart and judged, drawn from those that are alive."""
    passages: int
    """Passages of a cloze task in each bin of lengths, and questions of each set about what is unlearned."""
    meta_steps: int
    """Steps of training of a meta-SAE."""
    labelled: int
    """Texts of each labelled set, of which two of three are for learning."""
    label_sets: int | None
    """Most labelled sets, drawn from all; None for all."""
    pairs: int
    """Most pairs of entities of one kind that latents are counted on, and scored on; they are ranked on up to four times as many."""
    mask_steps: int
    """Steps of training of a mask of latents; with 0 none is trained."""
    subspace_steps: int
    """Steps of training of subspaces, the dense method beside latents that are patched; with 0 it is in closed form alone."""


BUDGETS = {
    "smoke": Budget(16, 2, 4096, Size(16, 4, 12), 0, 50_000, 1024, 4096, 24, 32, 300, 90, 16, 12, 0, 0),
    "quick": Budget(
        96, 8, 16_384, Size(40, 16, 48), 200_000, 400_000, 4096, 16_384, 96, 128, 1000, 300, None, 24, 0, 60
    ),
    "standard": Budget(
        384, 8, 65_536, Size(96, 32, 128), 1_000_000, 1_000_000, 16_384, 65_536, 300, 512, 1500, 600, None, 96, 100, 100
    ),
    "full": Budget(
        1536,
        8,
        None,
        Size(192, 64, 256),
        2_500_000,
        2_500_000,
        65_536,
        262_144,
        1000,
        2048,
        1500,
        1536,
        None,
        384,
        400,
        400,
    ),
}
