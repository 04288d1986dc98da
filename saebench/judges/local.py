"""A causal language model of this machine as a judge: it weighs explanations by their likelihood, and writes greedily."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from saebench.judges.backend import Keep, Reply
from saebench.judges.prompts import Prompt
from saebench.subject.subject import load_causal

ROWS = 32
"""Texts that are weighed at a time."""


@dataclass
class Local:
    """Loaded when it is first asked. What prompts begin with alike is read once."""

    model: str
    device: str
    _loaded: tuple[Any, Any] | None = field(default=None, repr=False)

    @property
    def weighs(self) -> bool:
        return True

    def answer(self, prompts: Sequence[Prompt], keep: Keep) -> None:
        """Raises OSError with one sentence where the model cannot be loaded."""
        tokenizer, model = self._opened()
        weighed = [at for at, prompt in enumerate(prompts) if prompt.weighed]
        for _, group in groupby(weighed, key=lambda at: (prompts[at].system, prompts[at].head)):
            some = list(group)
            for start in range(0, len(some), ROWS):
                part = some[start : start + ROWS]
                self._weigh(tokenizer, model, part, [prompts[at] for at in part], keep)
        for at, prompt in enumerate(prompts):
            if not prompt.weighed:
                self._write(tokenizer, model, at, prompt, keep)

    def _opened(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                self._loaded = load_causal(self.model, self.device)
            except ValueError as error:
                raise OSError(str(error)) from error
        return self._loaded

    @torch.no_grad()
    def _weigh(self, tokenizer: Any, model: Any, at: list[int], prompts: Sequence[Prompt], keep: Keep) -> None:
        """The log-likelihood of each prompt's target, in nats."""
        asked = [_ids(tokenizer, prompt) for prompt in prompts]
        ends = [list(tokenizer(prompt.target, add_special_tokens=False)["input_ids"]) for prompt in prompts]
        common = _common(asked)
        past = model(torch.tensor([asked[0][:common]], device=self.device), use_cache=True).past_key_values
        past.batch_repeat_interleave(len(asked))
        rest = [[*each[common:], *end] for each, end in zip(asked, ends, strict=True)]
        longest, most = max(map(len, rest)), max(map(len, ends))
        # What fills up stands behind, where no token sees it.
        rows = torch.tensor([each + [0] * (longest - len(each)) for each in rest], device=self.device)
        found = model(rows, past_key_values=past, logits_to_keep=_kept(rest, ends, longest))
        first = torch.tensor([len(each) - len(end) - 1 for each, end in zip(rest, ends, strict=True)])
        said = torch.tensor([end + [0] * (most - len(end)) for end in ends])
        own = torch.arange(most) < torch.tensor([len(end) for end in ends])[:, None]
        place = (first - int(first.min()))[:, None] + torch.arange(most)
        logits: Tensor = found.logits.float().cpu()
        place = place.clamp(max=logits.shape[1] - 1)
        likely = logits.log_softmax(dim=-1)[torch.arange(len(rows))[:, None], place, said]
        for where, each, nats in zip(at, asked, (likely * own).sum(dim=1).tolist(), strict=True):
            keep(where, Reply(f"{nats:.5f}", len(each), 0))

    @torch.no_grad()
    def _write(self, tokenizer: Any, model: Any, at: int, prompt: Prompt, keep: Keep) -> None:
        ids = torch.tensor([_ids(tokenizer, prompt)], device=self.device)
        filling = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=prompt.most, do_sample=False, pad_token_id=filling
        )[0, ids.shape[1] :]
        keep(at, Reply(tokenizer.decode(found, skip_special_tokens=True), ids.shape[1], len(found)))


def _ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """In the model's own form of a conversation where it has one."""
    if prompt.raw or not tokenizer.chat_template:
        text = "\n\n".join(filter(None, (prompt.system, prompt.user))) + ("" if prompt.raw else "\n")
        return list(tokenizer(text)["input_ids"])
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages = [*system, {"role": "user", "content": prompt.user}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _kept(rest: Sequence[Sequence[int]], ends: Sequence[Sequence[int]], longest: int) -> int:
    """How many positions from the end on say something of a target: those of all others need no logits."""
    return longest - min(len(each) - len(end) - 1 for each, end in zip(rest, ends, strict=True))


def _common(ids: Sequence[Sequence[int]]) -> int:
    """How many ids all begin with, so that at least one of each is left."""
    shortest = min(map(len, ids)) - 1
    if len(ids) == 1:
        return shortest
    table = torch.tensor([list(each[:shortest]) for each in ids])
    return max(1, int((table == table[0]).all(dim=0).long().cumprod(dim=0).sum()))
