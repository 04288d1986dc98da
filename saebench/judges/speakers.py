"""From a judge's name to the language model that speaks for it."""

from saebench.hub.models import model_digest
from saebench.judges.endpoint import Endpoint
from saebench.judges.local import Local
from saebench.judges.named import CALLS, JudgeName
from saebench.judges.prompts import VERSION
from saebench.judges.speaker import Speaker
from saebench.judges.transcripts import Transcripts
from saebench.record.naming import shown_model


def name_of(chosen: JudgeName) -> str:
    """Which model answers which prompts."""
    if chosen.kind == "local":
        return f"{shown_model(chosen.model)} {model_digest(chosen.model)[:12]}, prompts {VERSION}"
    return f"openai:{chosen.model}, prompts {VERSION}"


def speaker_of(chosen: JudgeName, device: str, budget: int | None, *, fresh: bool = False) -> Speaker:
    """A model of this machine, or one behind an endpoint, which is asked `CALLS` times at most if `budget` does not say."""
    name = name_of(chosen)
    if chosen.kind == "local":
        return Speaker(name, Local(chosen.model, device), Transcripts(name, fresh=fresh), budget)
    return Speaker(name, Endpoint(chosen.model), Transcripts(name, fresh=fresh), CALLS if budget is None else budget)
