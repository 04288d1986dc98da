"""What a judge costs, said before it is asked."""

from saebench.judges.endpoint import Endpoint
from saebench.judges.named import CALLS, JudgeName
from saebench.record.naming import shown_model

TOKENS_IN, TOKENS_OUT = 700, 60
"""Of a question and of its answer, about: fifteen texts of 32 tokens and what is asked about them."""
QUESTIONS = 1 + 2 + 2 + 1
"""About a latent: explain it; detect and fuzz with its own explanation and with another's; write texts like its own."""
TEXTS = 1 + 2 * 14 + 2 * 8 + 1
"""The same of a model that weighs each text by itself."""
CONTROL = 5 / 6
"""Once for all SAEs of a place: all but the writing, of an SAE of the random model."""


def planned(chosen: JudgeName, latents: int, budget: int | None) -> str:
    """One sentence. Nothing is asked for it but the price, and that of a server."""
    each = latents * (TEXTS if chosen.kind == "local" else QUESTIONS)
    what = (
        f"judge {shown_model(chosen.model)}: up to {each:,} questions about {latents} latents of each SAE, and once"
        f" {round(each * CONTROL):,} about a control; what was answered before is not asked again"
    )
    if chosen.kind == "local":
        return f"{what}; it answers on this machine"
    tokens_in, tokens_out = each * TOKENS_IN, each * TOKENS_OUT
    server = Endpoint(chosen.model)
    price = server.price()
    cost = f", ${price[0] * tokens_in + price[1] * tokens_out:.2f}" if price else ""
    most = CALLS if budget is None else budget
    return (
        f"{what}; about {tokens_in:,} tokens read and {tokens_out:,} written for each{cost}, at {server.place};"
        f" at most {most:,} calls (--sae-judge-budget)"
    )
