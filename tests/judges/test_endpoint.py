import json
from collections.abc import Iterator
from pathlib import Path

import loopback
import numpy as np
import pytest
from loopback import KEY, Behave, Server, serving

from saebench.judges.endpoint import Endpoint
from saebench.judges.language import Language
from saebench.judges.passages import Passages
from saebench.judges.prompts import choose
from saebench.judges.speaker import Speaker
from saebench.judges.transcripts import Transcripts

pytest.importorskip("openai")
LATENTS = 6
PROMPTS = [choose("cats", ["a dog", "a cat", f"cat {at}"], marked=False) for at in range(LATENTS)]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEBENCH_JUDGE_KEY", KEY)
    monkeypatch.setenv("SAEBENCH_JUDGE_TIMEOUT", "0.2")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(getattr(request, "param", loopback.well)) as found:
        monkeypatch.setenv("SAEBENCH_JUDGE_URL", found.url)
        yield found


def speaker(folder: Path, budget: int | None = None, retries: int = 1) -> Speaker:
    return Speaker("openai:fake", Endpoint("fake", retries), Transcripts("openai:fake", folder), budget)


def test_a_good_server_is_asked_once(server: Server, tmp_path: Path) -> None:
    assert speaker(tmp_path).ask([*PROMPTS, PROMPTS[0]]) == [[2, 3]] * (LATENTS + 1)
    again = speaker(tmp_path)
    assert again.ask(PROMPTS) == [[2, 3]] * LATENTS
    assert len(server.asked) == LATENTS
    assert (again.calls, again.remembered) == (0, LATENTS)
    assert server.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (loopback.refusing, "the judge fake at 127.0.0.1:PORT refuses the key"),
        (loopback.limiting, "the judge fake at 127.0.0.1:PORT says that there are too many requests, 2 times"),
        (loopback.breaking, "the judge fake at 127.0.0.1:PORT answers with status 500"),
        (loopback.hanging, "the judge fake at 127.0.0.1:PORT did not answer in time, 2 times"),
    ],
)
def test_a_rude_server_ends_in_one_sentence_and_nothing_is_lost(
    server: Server, tmp_path: Path, then: Behave, said: str
) -> None:
    server.behave = loopback.after(2, then)
    first = speaker(tmp_path)
    with pytest.raises(OSError, match="another run asks only") as told:
        first.ask(PROMPTS)
    sentence, port = str(told.value), server.url.split(":")[2].removesuffix("/v1")
    assert sentence.startswith(said.replace("PORT", port))
    assert "\n" not in sentence
    assert KEY not in sentence
    kept = (tmp_path / first.transcripts.path.name).read_text()
    assert len(kept.splitlines()) == 2
    assert KEY not in kept
    asked = len(server.asked)
    with pytest.raises(OSError, match=r"another run"):  # not asked again, by any other test of this run
        first.ask(PROMPTS)
    assert len(server.asked) == asked
    server.behave, server.asked[:] = loopback.well, []
    assert speaker(tmp_path).ask(PROMPTS) == [[2, 3]] * LATENTS
    assert len(server.asked) == LATENTS - 2


def test_nobody_is_there(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEBENCH_JUDGE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(OSError, match=r"the judge fake at 127.0.0.1:9 cannot be reached; answers so far are kept"):
        speaker(tmp_path).ask(PROMPTS)


def test_a_server_that_limits_for_a_while_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.behave = lambda s, n, q: (loopback.limiting if n == 0 else loopback.well)(s, n, q)
    assert speaker(tmp_path, retries=3).ask(PROMPTS[:2]) == [[2, 3]] * 2
    assert len(server.asked) == 3


@pytest.mark.parametrize("server", [loopback.mumbling, loopback.shapeless], indirect=True)
def test_nonsense_is_no_answer_and_is_not_kept(server: Server, tmp_path: Path) -> None:
    first = speaker(tmp_path)
    with pytest.raises(OSError, match="answers nonsense to 6 of 6 prompts"):
        first.ask(PROMPTS)
    assert not first.transcripts.path.exists()


def test_a_little_nonsense_is_asked_again_and_then_left_out(server: Server, tmp_path: Path) -> None:
    server.behave = lambda s, n, q: (loopback.mumbling if "cat 0" in q else loopback.well)(s, n, q)
    assert speaker(tmp_path).ask(PROMPTS) == [None, *[[2, 3]] * (LATENTS - 1)]
    assert len(server.asked) == LATENTS + 1


def test_a_budget_ends_in_one_sentence_and_is_gone_on_from(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"--sae-judge-budget: 4 calls to openai:fake are spent, and 2 more are needed"):
        speaker(tmp_path, budget=4).ask(PROMPTS)
    assert speaker(tmp_path, budget=4).ask(PROMPTS) == [[2, 3]] * LATENTS
    assert len(server.asked) == LATENTS


def test_what_refuses_a_temperature_is_asked_without(server: Server, tmp_path: Path) -> None:
    def reasoning(_: Server, number: int, question: str) -> tuple[int, object]:
        refused = {"error": {"message": "'max_tokens' is not supported with this model"}}
        return (400, refused) if number == 0 else (200, loopback.answer("none"))

    server.behave = reasoning
    assert speaker(tmp_path).ask(PROMPTS[:1]) == [[]]


def test_the_price_is_what_the_server_tells(server: Server) -> None:
    assert Endpoint("fake").price() == (1e-6, 2e-6)
    assert Endpoint("other").price() is None


def test_a_key_in_an_answer_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.behave = lambda *_: (200, loopback.answer(f"2\n{KEY}"))
    asked = speaker(tmp_path)
    with pytest.raises(OSError, match=r"nonsense") as told:
        asked.ask(PROMPTS)
    assert KEY not in str(told.value)


def test_a_language_model_judges_all_texts_of_a_latent_at_once(server: Server, tmp_path: Path) -> None:
    pieces = np.array([" cat", " dog", ""], dtype=object)
    ids = np.array([[[0, 1], [1, 1], [0, -1]]] * 2)
    texts = Passages(ids, ids == 0, pieces)
    judge = Language(speaker(tmp_path))
    assert judge.explain(texts) == ["words about cats"] * 2
    assert "1. << cat>> dog\n2. dog dog\n3. << cat>>" in server.asked[0]
    found = judge.fires(["words about cats", None], texts)
    assert found[0].tolist() == [0, 1, 1]
    assert np.isnan(found[1]).all()
    assert [len(written or ()) for written in judge.write(texts)] == [5, 5]
    lines = judge.speaker.transcripts.path.read_text().splitlines()
    assert {json.loads(line)["judge"] for line in lines} == {"openai:fake"}
