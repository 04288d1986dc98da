"""Which judge `--sae-judge` names: told before anything heavy is loaded."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from saebench.catalogue.registry import families
from saebench.hub.models import lies_here
from saebench.hub.needs import of_model
from saebench.record.naming import nearest, shown
from saebench.toy.worlds import is_toy

URL, MODEL, KEY, OPENAI_KEY = "SAEBENCH_JUDGE_URL", "SAEBENCH_JUDGE_MODEL", "SAEBENCH_JUDGE_KEY", "OPENAI_API_KEY"
"""Names of what the environment says of an endpoint."""
TIMEOUT = "SAEBENCH_JUDGE_TIMEOUT"
OPENAI = "https://api.openai.com/v1"
KNOWN = ("exact", "openai", "openai:MODEL", "local:FOLDER_OR_NAME")
CALLS = 2000
"""Most calls to an endpoint in a run, where `--sae-judge-budget` does not say."""


@dataclass(frozen=True)
class JudgeName:
    """A kind of judge, and which one: the name of a language model."""

    kind: Literal["exact", "openai", "local"]
    model: str = ""


def judge_named(text: str | None) -> JudgeName | None:
    """What a name means, None for none. Raises ValueError with one sentence for what is none, or lacks what it needs."""
    if text is None:
        return None
    kind, _, what = text.partition(":")
    if text == "exact":
        return JudgeName("exact")
    if kind == "openai":
        return _endpoint(what)
    own = {family.name: family.table.get("model") for family in families()}
    if kind == "local":
        return _local(str(own.get(what) or what))
    if (model := own.get(text)) and not is_toy(str(model)):
        return _local(str(model))
    known = [*KNOWN, *(name for name, model in own.items() if model and not is_toy(str(model)))]
    raise ValueError(
        f"--sae-judge {shown(text)}: no judge is called so.{nearest(text, known)} There are {', '.join(KNOWN)}, and families with a model,"
        " such as smollm2"
    )


def _local(model: str) -> JudgeName:
    """Raises ValueError for a toy, and for what is neither a folder of a model nor a name of the hub."""
    if not model or is_toy(model):
        raise ValueError(f"--sae-judge local:{model}: expected the folder or the name of a causal language model")
    if not lies_here(model) and (Path(model).is_absolute() or model.startswith((".", "~"))):
        raise ValueError(f"--sae-judge local:{model}: there is no such folder")
    of_model(model)
    return JudgeName("local", model)


def _endpoint(model: str) -> JudgeName:
    """Raises ValueError where the client library, the model, a proper URL or a key is lacking."""
    model = model or os.environ.get(MODEL, "")
    if not model:
        raise ValueError(f"--sae-judge openai: name the model, as in openai:gpt-4o-mini, or set {MODEL}")
    if importlib.util.find_spec("openai") is None:
        raise ValueError("--sae-judge openai needs the client library: pip install 'pytest-saebench[judge]'")
    url = urlsplit(address())
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{URL}: expected an address such as http://localhost:8000/v1")
    if address() == OPENAI and not key():
        raise ValueError(f"--sae-judge openai: set {KEY} or {OPENAI_KEY}, or {URL} for a server that needs none")
    if not (seconds := os.environ.get(TIMEOUT, "60")).replace(".", "", 1).isdecimal() or float(seconds) <= 0:
        raise ValueError(f"{TIMEOUT}={shown(seconds)}: expected seconds, such as 60")
    return JudgeName("openai", model)


def address() -> str:
    """Where an endpoint is: OpenAI's own, where the environment names no other."""
    return os.environ.get(URL) or OPENAI


def key() -> str:
    """The endpoint's key, never to be written anywhere. OpenAI's is given to OpenAI alone."""
    return os.environ.get(KEY) or (os.environ.get(OPENAI_KEY, "") if address() == OPENAI else "")
