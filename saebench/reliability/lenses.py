"""The lenses of the reliability card: what each asks, and when a property fails it.

All thresholds were chosen before the scores that they are applied to were measured.
"""

from saebench.reliability.lens_planted import dose, ordering
from saebench.reliability.lens_zoo import MATCHED_L0, MOST_CV, SMALL, architectures, detectable, reseed, truth
from saebench.reliability.reliability import FALSE_FINDINGS, Lens

LENSES = (
    Lens(
        "reseed noise", "Does a score stay, when its random stages are drawn anew?",
        f"fails if the standard deviation over repetitions exceeds {MOST_CV:.0%} of the mean and {SMALL} of the ±, or if"
        " there is a score in some repetitions only. After the reseed lens of the audit.",
        reseed,
    ),
    Lens(
        "detectable difference", "How far apart must two SAEs be, and are those of the zoo?",
        "fails if the zoo's real SAEs span no more than one minimum detectable difference, which 80% of runs would see at the"
        " 5% level, paired where both SAEs have the same items. After the discriminability lens of the audit.",
        detectable,
    ),
    Lens(
        "ordering", "Is the truth best, then a trained SAE, then one with half of its latents replaced, then random directions?",
        "fails if any two neighbours are not told apart in that direction (paired where they share items, mean over the SAEs, errors"
        f" taken to be the same in all; the largest p counts, corrected by Holm, {FALSE_FINDINGS}), or clearly stand the other way"
        " round. After the audit, which orders its controls.",
        ordering,
    ),
    Lens(
        "damage", "Does it fall, dose by dose, as latents are replaced and as noise is added to the decoder?",
        f"fails if it is flat (exact test of trend within SAEs, p > {FALSE_FINDINGS}, not corrected), improves, or clearly rises"
        " from one dose to the next. A kind of damage that it does not read does not count.",
        dose,
    ),
    Lens(
        "ground truth", "Does it agree with what is known of the zoo's SAEs?",
        f"fails unless Spearman's ρ has the right sign beyond chance (by permutation; p corrected by Holm, {FALSE_FINDINGS})."
        " What is known stands in the `report.json` of the zoo, in `fixtures/`; of SAEs of toy worlds, it is what"
        " `known_truth` says of the features.",
        truth,
    ),
    Lens(
        "architectures", f"Does it separate architectures at an L0 of {MATCHED_L0:.0f}?",
        f"fails unless architectures differ by more than training seeds do (by permutation; p corrected by Holm, {FALSE_FINDINGS})."
        " After the discriminability lens of the audit.",
        architectures,
    ),
)  # fmt: skip
