"""A model behind an OpenAI-compatible server, asked through OpenAI's own client: retries, time limits, 429 and all."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from saebench.judges.backend import Keep, Reply
from saebench.judges.named import TIMEOUT, address, key
from saebench.judges.prompts import Prompt
from saebench.record.naming import shown

RETRIES = 3
"""After a refused connection, a time-out, "too many requests" or an error of the server; as long as it says, or ever longer."""
AT_ONCE = 4
"""Questions under way together."""
SAID = 160
"""Characters of what a server says that a user is told."""


@dataclass
class Endpoint:
    """The key comes from the environment, goes to the server, and is taken out of whatever the server says."""

    model: str
    retries: int = RETRIES
    plain: bool = False
    """Whether the server refuses to be told temperature and length, as for models that reason."""
    _client: Any = field(default=None, repr=False)

    @property
    def weighs(self) -> bool:
        """Servers answer in words."""
        return False

    @property
    def place(self) -> str:
        """The server's name, without whatever else an address may hold."""
        url = urlsplit(address())
        return f"{url.hostname}:{url.port}" if url.port else str(url.hostname)

    def answer(self, prompts: Sequence[Prompt], keep: Keep) -> None:
        """Raises OSError with one sentence as soon as one prompt has no reply, and starts no other one then."""
        client = self._opened()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            started = [pool.submit(self._one, client, at, prompt, keep) for at, prompt in enumerate(prompts)]
            wait(started, return_when=FIRST_EXCEPTION)
            failed = _first_error(started)
            if failed is not None:
                pool.shutdown(cancel_futures=True)
        if failed is not None:
            raise OSError(self._sentence(failed)) from None

    def _opened(self) -> Any:
        import openai

        if self._client is None:
            seconds = float(os.environ.get(TIMEOUT, "60"))
            self._client = openai.OpenAI(
                base_url=address(), api_key=key() or "none", timeout=seconds, max_retries=self.retries
            )
        return self._client

    def _one(self, client: Any, at: int, prompt: Prompt, keep: Keep) -> None:
        said = self._asked(client, prompt)
        text, usage = _text(said), getattr(said, "usage", None)
        used = [getattr(usage, name, 0) for name in ("prompt_tokens", "completion_tokens")]
        counts = [each if isinstance(each, int) else 0 for each in used]
        keep(at, Reply(self._without_key(text), *counts))

    def _asked(self, client: Any, prompt: Prompt) -> Any:
        import openai

        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        if not self.plain:
            try:
                return client.chat.completions.create(
                    model=self.model, messages=messages, temperature=0, max_tokens=prompt.most
                )
            except openai.BadRequestError as error:
                if not any(word in str(error) for word in ("max_tokens", "temperature")):
                    raise
                self.plain = True
        return client.chat.completions.create(model=self.model, messages=messages)

    def _sentence(self, error: BaseException) -> str:
        """What went wrong, in words that a user can act on."""
        import openai

        where, tries = f"the judge {self.model} at {self.place}", f"{self.retries + 1} times"
        kept = "; answers so far are kept, and another run asks only for the others"
        if isinstance(error, openai.APITimeoutError):
            return f"{where} did not answer in time, {tries}{kept}"
        if isinstance(error, openai.APIConnectionError):
            return f"{where} cannot be reached{kept}"
        if isinstance(error, openai.RateLimitError):
            return f"{where} says that there are too many requests, {tries}: {self._said(error)}{kept}"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{where} refuses the key: {self._said(error)}; SAEBENCH_JUDGE_KEY names another{kept}"
        if isinstance(error, openai.APIStatusError):
            return f"{where} answers with status {error.status_code}: {self._said(error)}{kept}"
        return f"{where}: {type(error).__name__}: {self._said(error)}{kept}"

    def _said(self, error: BaseException) -> str:
        return shown(self._without_key(str(error)), SAID)

    def _without_key(self, text: str) -> str:
        return text.replace(key(), "(the key)") if key() else text

    def price(self) -> tuple[float, float] | None:
        """Dollars per token read and written, where the server tells, as OpenRouter's list of models does."""
        try:
            models = self._opened().with_options(max_retries=0, timeout=3).models.list().data
            told: Any = next(getattr(model, "pricing", None) for model in models if model.id == self.model)
            return float(told["prompt"]), float(told["completion"])
        except Exception:  # whatever a server makes of this question, it is no matter
            return None


def _first_error(started: Sequence[Future[None]]) -> BaseException | None:
    errors = (each.exception() for each in started if each.done() and not each.cancelled())
    return next((error for error in errors if error is not None), None)


def _text(said: Any) -> str:
    """What a model said; nothing where the server's answer has no such place."""
    choices = getattr(said, "choices", None)
    content = getattr(getattr(choices[0], "message", None), "content", None) if choices else None
    return content if isinstance(content, str) else ""
