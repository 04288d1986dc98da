"""Who judges explanations in this run."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.judges.named import JudgeName, judge_named
from saebench.record.places import ORGANISM
from saebench.record.score import Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.judges.judge import Judge
    from saebench.judges.speaker import Speaker

NONE = "no judge"


@dataclass
class Judges:
    """The embedded model's own judge needs nothing, and is taken where no other is named; elsewhere there is none then."""

    models: Models
    shelf: Shelf
    speakers: dict[JudgeName, "Speaker"] = field(default_factory=dict)
    """Language models that answer: one for the whole run."""

    @property
    def named(self) -> JudgeName | None:
        """What `--sae-judge` says."""
        return judge_named(self.models.options.judge)

    def chosen(self, spec: SAESpec) -> JudgeName | None:
        """The judge of an SAE; None where there is none."""
        if is_toy(model := self.models.name(spec)):
            return None
        return self.named or (JudgeName("exact") if model == ORGANISM else None)

    def name(self, spec: SAESpec) -> str:
        """Judge, prompts and version, as the identity of scores has them."""
        from saebench.judges.exact import NAME
        from saebench.judges.speakers import name_of

        if (chosen := self.chosen(spec)) is None:
            return NONE
        return NAME if chosen.kind == "exact" else name_of(chosen)

    def latents(self, spec: SAESpec) -> int:
        """How many latents are asked about: a third as many where a model of this machine has to answer."""
        chosen, asked = self.chosen(spec), self.models.options.sizes.latents
        return asked // 3 if chosen is not None and chosen.kind == "local" else asked

    def of(self, spec: SAESpec) -> "Judge":
        """Raises Unscored where there is none."""
        if (chosen := self.chosen(spec)) is None:
            raise Unscored("nobody judges explanations here: name a judge with --sae-judge")
        return self._exact(spec) if chosen.kind == "exact" else self._language(chosen)

    def _exact(self, spec: SAESpec) -> "Judge":
        from saebench.judges.concepts import world_concepts
        from saebench.judges.exact import Exact

        if self.models.name(spec) != ORGANISM:
            raise Unscored("the exact judge knows the embedded model's world alone: name another with --sae-judge")
        tokenizer = self.models.subject(spec).tokenizer
        return self.shelf.model.get(("exact judge",), lambda: Exact(world_concepts(tokenizer)), random=False)

    def _language(self, chosen: JudgeName) -> "Judge":
        from saebench.judges.language import Language

        return Language(self.speaker(chosen))

    def speaker(self, chosen: JudgeName) -> "Speaker":
        """The language model behind a judge, with all that it answered before."""
        from saebench.judges.speakers import speaker_of

        options = self.models.options
        if chosen not in self.speakers:
            self.speakers[chosen] = speaker_of(chosen, self.models.device(), options.judge_budget, fresh=options.fresh)
        return self.speakers[chosen]

    def plan(self, spec: SAESpec) -> str:
        """What a judge is going to be asked about an SAE, before it is; empty where asking costs nothing."""
        from saebench.judges.costs import planned

        chosen = self.chosen(spec)
        if chosen is None or chosen.kind == "exact":
            return ""
        return planned(chosen, self.latents(spec), self.models.options.judge_budget)

    def notes(self) -> list[str]:
        """What was asked, and of whom."""
        return [speaker.said() for speaker in self.speakers.values()]
