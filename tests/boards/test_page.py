"""The page holds all it shows, fetches nothing, and works in a browser: by mouse, by keyboard and on a phone."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from drawn import CURVE, HOSTILE, RESPONSE
from factories import make_score

from saebench.boards.page import page
from saebench.boards.page_data import page_data
from saebench.boards.sealed import digest
from saebench.cli import main
from saebench.record.store import Store

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
EVIL = "evil/</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
LETTERS = {"item": ["A", "B", "C"], "contribution": [0.25, 0.5, 0.75]}
CARRIER = {
    "carrier_concept": ["S"], "carrier_word": [" snake"], "carrier_main": [7], "carrier": [9],
    "carrier_activation": [2.0], "carrier_cosine": [0.5], "carrier_share": [0.9],
}  # fmt: skip


def zoo(folder: Path) -> Store:
    """Six SAEs of three architectures and one control, with items of every kind, and one property that some lack."""
    store = Store(folder / "zoo.jsonl")
    kinds = [
        ("topk", 16.0, 0.6),
        ("topk", 32.0, 0.8),
        ("gated", 15.0, 0.5),
        ("gated", 31.0, 0.7),
        ("jumprelu", 33.0, 0.65),
    ]
    saes = [(f"zoo/{kind}-{l0:g}", kind, l0, value, False) for kind, l0, value in kinds]
    saes += [(EVIL, "jumprelu", 20.0, 0.4, False), ("zoo/random", "topk", 400.0, 0.1, True)]
    for i, (sae, architecture, l0, value, control) in enumerate(saes):
        known: dict[str, Any] = {
            "sae": sae, "architecture": architecture, "l0": l0, "control": control, "d_sae": 512 * (1 + i % 2),
            "n_unit": "letter",
        }  # fmt: skip
        f1 = make_score(property="first_letter.f1", better="higher", floor=0.0, ceiling=1.0, value=value, **known)
        store.append(f1, LETTERS)
        store.append(make_score(property="reconstruction.fvu", value=1 - value, **{**known, "n_unit": "document"}),
                     {"contribution": [i / 100 for i in range(100)]})  # fmt: skip
        store.append(make_score(property="distinguishability.angle", better="neither", **known), RESPONSE)
        retention = {"property": "context_length.kl_retention", "better": "higher", **known}
        store.append(make_score(**retention), CURVE)
        rate = {"property": "absorption.full_rate_0_6_0", **known}
        if i % 2:
            store.append(make_score(unscored="its main latents detect <nothing>", **rate))
        else:
            store.append(make_score(**rate), CARRIER)
    return store


def data_of(store: Store) -> dict[str, Any]:
    questions = {"first_letter": "Is it a classifier? Chanin et al. (arXiv 2409.14507)"}
    scores = list(store.newest().values())
    return page_data(
        store, scores, title="Leaderboard: zoo", questions=questions, defined={"first_letter.f1": "F1 & more"},
        failing={"absorption.full_rate_0_6_0": ["noise", "range"]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(data_of(zoo(tmp_path_factory.mktemp("zoo")))).text()


class Elements(HTMLParser):
    """Tags that were opened, with their attributes, and whether all of them are closed in order."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)


def embedded(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


# Without a browser


def test_one_valid_file_that_refers_to_no_other(html: str) -> None:
    parsed = Elements(html)
    assert parsed.open == []
    assert [tag for tag, _ in parsed.found].count("script") == 3
    assert ("html", {"lang": "en"}) in parsed.found
    links = [
        value
        for _, attributes in parsed.found
        for name, value in attributes.items()
        if name in ("src", "href", "action")
    ]
    assert all(link is not None and link.startswith(("data:", "#")) for link in links)
    own = html.replace(parsed.text["script"][1], "")
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", own)
    assert set(re.findall(r"https?://[^\"'\s)]+", own)) == {"http://www.w3.org/2000/svg"}
    assert len(html) < 3_000_000


def test_policy_lets_only_these_scripts_run(html: str) -> None:
    policy = next(a["content"] for _, a in Elements(html).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
    assert policy.count("sha256-") == 2


def test_data_are_whole_and_cannot_leave_their_element(html: str, tmp_path: Path) -> None:
    assert "<script>window" not in html
    data = data_of(zoo(tmp_path))
    assert embedded(html) == json.loads(json.dumps(data))
    (model,) = data["models"]
    assert [sae["name"] for sae in model["saes"]][-1] == "zoo/random"
    assert EVIL in [sae["name"] for sae in model["saes"]]
    topk = next(sae for sae in model["saes"] if sae["name"] == "zoo/topk-16")
    f1 = next(i for i, column in enumerate(model["columns"]) if column["name"] == "f1")
    assert topk["cells"][f1] == {
        "text": "0.600 ±0.038", "n": "40 letters", "value": 0.6, "low": 0.562, "high": 0.638, "floor": "0.000",
        "ceiling": "1.000", "rank": 3, "front": True,
    }  # fmt: skip
    assert model["columns"][f1]["definition"] == "F1 & more"
    unscored = [sae["cells"] for sae in model["saes"] if any("why" in cell for cell in sae["cells"])]
    assert "its main latents detect <nothing>" in [cell["why"] for cells in unscored for cell in cells if "why" in cell]


def test_items_are_listed_summed_up_and_drawn(tmp_path: Path) -> None:
    (model,) = data_of(zoo(tmp_path))["models"]
    items = next(sae["items"] for sae in model["saes"] if sae["name"] == "zoo/topk-16")
    (letters,) = items["first_letter"]["tables"]
    assert letters == {
        "title": "By letter",
        "header": ["letter", "f1"],
        "rows": [["A", "0.250"], ["B", "0.500"], ["C", "0.750"]],
    }
    (spread,) = items["reconstruction"]["tables"]
    assert spread["rows"] == [["fvu", "100 documents", "0.000", "0.250", "0.500", "0.740", "0.990"]]
    (carriers,) = [table for table in items["absorption"]["tables"] if table["title"] == "Absorbed words"]
    assert carriers["rows"][0][0] == "S: latent 9 fires on ' snake' in place of latent 7"
    assert [chart["title"] for chart in items["context_length"]["charts"]] == ["KL by position"]
    assert len(items["distinguishability"]["charts"]) == 2


def test_older_items_are_listed_by_concept(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.jsonl")
    store.append(make_score(n_unit="concept"), {"concept": ["B", "A"], "value": [1.0, float("nan")]})
    (sae,) = data_of(store)["models"][0]["saes"]
    assert [row[0] for row in sae["items"]["absorption"]["tables"][0]["rows"]] == ["A", "B"]


def test_equal_scores_make_an_equal_page(html: str, tmp_path: Path) -> None:
    again = page(data_of(zoo(tmp_path)))
    assert again.matches(html)
    assert again.text() == html
    changed = data_of(zoo(tmp_path / "other"))
    changed["models"][0]["saes"][0]["cells"][0]["text"] = "1"
    assert not page(changed).matches(html)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(name: str, tmp_path: Path) -> None:
    scores = [make_score(sae=name, architecture=name, params={"p": name}, unit=name, hook=name)]
    text = page(page_data(Store(tmp_path / "a.jsonl"), scores, title=name)).text()
    parsed = Elements(text)
    assert [tag for tag, _ in parsed.found].count("script") == 3
    own = text.replace(parsed.text["script"][1], "")
    assert all(char.isprintable() or char == "\n" for char in own)
    assert embedded(text)["models"][0]["saes"][0]["name"]


def test_no_scores_still_make_a_page(tmp_path: Path) -> None:
    data = page_data(Store(tmp_path / "a.jsonl"), [], title="none")
    assert data["models"] == []
    assert Elements(page(data).text()).open == []


def test_other_seeds_are_left_out_and_models_stand_apart(tmp_path: Path) -> None:
    scores = [
        make_score(sae="a"),
        make_score(sae="a", seed=1, value=9.0),
        make_score(sae="a", model="gpt2", model_digest="g"),
    ]
    data = page_data(Store(tmp_path / "a.jsonl"), scores, title="t")
    assert [model["name"] for model in data["models"]] == ["organism", "gpt2"]
    assert all(len(model["saes"]) == 1 for model in data["models"])
    assert digest(data) != digest(page_data(Store(tmp_path / "a.jsonl"), scores[:2], title="t"))


def test_commands_that_publish_nothing_do_not_import_what_draws() -> None:
    from imported import loaded_by

    assert loaded_by("import saebench.cli, saebench.commands.publish; assert 'vl_convert' not in sys.modules") == []


def test_publish_writes_and_checks_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo(tmp_path)
    board = ["publish", "--to", str(tmp_path)]
    assert main(board) == main([*board, "--check"]) == 0
    path = tmp_path / "zoo.html"
    text, written = path.read_text(), path.stat().st_mtime_ns
    assert main(board) == 0
    assert path.stat().st_mtime_ns == written, "what is right is not drawn again"
    path.write_text(text.replace("Horizontal axis", "Vertical axis"))
    picture = tmp_path / "zoo.pictures" / "first_letter.svg"
    picture.unlink()
    assert main([*board, "--check"]) == 1
    assert capsys.readouterr().out == (
        f"{picture} is missing: run saebench publish\n{path} differs from its scores: run saebench publish\n"
    )
    assert main(board) == 0
    assert path.read_text() == text
    assert picture.is_file()


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright drives the browser: pip install -e '.[browser]'"
    )
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome on PATH to show the page in")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=FLAGS.split())
        yield started
        started.close()


class Shown:
    """The page in a browser, with all that the browser complained about or asked for."""

    def __init__(self, browser: Any, path: Path, width: int, height: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab = browser.new_page(viewport={"width": width, "height": height})
        self.tab.set_default_timeout(20_000)
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())
        self.tab.wait_for_selector("#chart[data-drawn] svg")

    def points(self) -> int:
        return int(self.tab.locator("#chart path[aria-roledescription='point']").count())

    def names(self) -> list[str]:
        return list(self.tab.locator("button.name").all_text_contents())

    def redrawn(self, act: Any) -> None:
        """Do something, and wait until the chart has been drawn anew."""
        before = self.tab.get_attribute("#chart", "data-drawn")
        act()
        self.tab.wait_for_function("before => document.querySelector('#chart').dataset.drawn !== before", arg=before)

    def focus(self) -> str:
        return str(
            self.tab.evaluate(
                "(document.activeElement.id || document.activeElement.value || document.activeElement.textContent)"
            )
        )

    def tab_to(self, wanted: str, most: int = 60) -> None:
        for _ in range(most):
            self.tab.keyboard.press("Tab")
            if self.focus() == wanted:
                return
        raise AssertionError(f"{wanted} cannot be reached by Tab")

    def overflow(self) -> int:
        return int(self.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture
def shown(browser: Any, html: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shown]:
    (tmp_path / "zoo.html").write_text(html, encoding="utf-8")
    found = Shown(browser, tmp_path / "zoo.html", *getattr(request, "param", (1280, 900)))
    yield found
    assert found.complaints == []
    assert len(found.requests) == 1
    assert found.tab.evaluate("window.hacked") is None
    found.tab.close()


def test_it_shows_a_chart_and_all_saes(shown: Shown) -> None:
    assert shown.points() == len(shown.names()) == 6
    assert EVIL in shown.names()
    assert "6 of 7 SAEs are listed" in shown.tab.inner_text("#status")
    assert "f1 ↑ against L0: 6 of 6" in shown.tab.inner_text("#caption")
    assert "F1 & more" in shown.tab.inner_text("#asks")
    assert "Is it a classifier?" in shown.tab.inner_text("#asked")


def test_filters_take_points_and_rows(shown: Shown) -> None:
    shown.redrawn(lambda: shown.tab.uncheck("input[value=gated]"))
    assert shown.points() == len(shown.names()) == 4
    assert not any("gated" in name for name in shown.names())
    shown.redrawn(lambda: shown.tab.check("input[value=control]"))
    assert "zoo/random" in shown.names()
    assert shown.points() == 5


def test_without_anything_to_show_it_says_so(shown: Shown) -> None:
    for kind in ("topk", "gated", "jumprelu"):
        shown.redrawn(lambda kind=kind: shown.tab.uncheck(f"input[value={kind}]"))
    assert shown.points() == len(shown.names()) == 0
    assert "0 of 0 SAEs" in shown.tab.inner_text("#caption")
    shown.redrawn(lambda: shown.tab.check("input[value=gated]"))
    assert shown.points() == 2


def test_axes_change_chart_and_table(shown: Shown) -> None:
    shown.redrawn(lambda: shown.tab.select_option("#y", label="full_rate_0_6_0 ↓ ⚠"))
    assert shown.points() == 3
    assert "fails on the reliability card: noise, range" in shown.tab.inner_text("#asks")
    assert "3 have no score here" in shown.tab.inner_text("#caption")
    shown.redrawn(lambda: shown.tab.select_option("#x", label="fvu ↓"))
    heads = shown.tab.locator("#table thead th").all_inner_texts()
    assert heads[:3] == ["SAE", "full_rate_0_6_0 ↓ ⚠", "fvu ↓"]
    labels = shown.tab.locator("#chart svg text").all_text_contents()
    assert {"full_rate_0_6_0 ↓ ⚠", "fvu ↓"} <= set(labels)


def test_hovering_tells_and_a_point_leads_to_its_row(shown: Shown) -> None:
    point = shown.tab.locator("#chart path[aria-roledescription='point']").first
    name = shown.tab.evaluate("path => path.__data__.datum.name", point.element_handle())
    point.hover(force=True)
    shown.tab.wait_for_selector("#vg-tooltip-element.visible")
    tip = shown.tab.inner_text("#vg-tooltip-element")
    assert name in tip
    assert "±0.038" in tip
    point.click(force=True)
    assert shown.focus().startswith(name)
    assert shown.tab.locator("button.name[aria-expanded=true]").all_text_contents() == [name]


def test_sorting(shown: Shown) -> None:
    shown.tab.click("th[data-key=l0] button")
    assert shown.names()[0] == "zoo/gated-15"
    assert shown.tab.get_attribute("th[data-key=l0]", "aria-sort") == "ascending"
    shown.tab.click("th[data-key=l0] button")
    assert shown.names()[0] == "zoo/jumprelu-33"


def test_all_of_it_by_keyboard(shown: Shown) -> None:
    shown.tab_to("y")
    assert shown.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    shown.redrawn(lambda: shown.tab.keyboard.press("ArrowDown"))
    shown.tab_to("gated")
    shown.redrawn(lambda: shown.tab.keyboard.press("Space"))
    assert len(shown.names()) == 4
    shown.tab_to("zoo/topk-16")
    assert shown.tab.locator("tr.active, .name:focus").all_text_contents() == ["zoo/topk-16"]
    shown.tab.keyboard.press("Enter")
    shown.tab_to("first_letter: 1 of 1 scored, with items")
    shown.tab.keyboard.press("Enter")
    letters = shown.tab.get_by_role("heading", name="By letter")
    letters.wait_for()
    shown.tab.keyboard.press("Space")
    letters.wait_for(state="hidden")


def test_a_row_leads_to_its_scores_and_items(shown: Shown) -> None:
    shown.tab.get_by_role("button", name="zoo/topk-16", exact=True).click()
    for summary in shown.tab.locator(".details-box > details > summary").all():
        summary.click()
    shown.tab.wait_for_function("document.querySelectorAll('.curves svg').length === 3")
    shown.tab.get_by_text("fires on ' snake'").wait_for()
    text = shown.tab.inner_text(".details-box")
    for expected in (
        "0.600 ±0.038",
        "40 letters",
        "By letter",
        "fires on ' snake'",
        "KL by position",
        "Spread over items",
    ):
        assert expected in text
    widths = shown.tab.evaluate(
        "[...document.querySelectorAll('.curves svg')].map(svg => svg.getBoundingClientRect().width)"
    )
    assert min(widths) > 300
    shown.tab.get_by_text("The same as a table").first.click()
    assert shown.tab.locator("td", has_text="0.5").count() > 0
    shown.tab.get_by_role("button", name="zoo/gated-15", exact=True).click()
    shown.redrawn(lambda: shown.tab.uncheck("input[value=gated]"))
    assert shown.tab.locator(".details-box").count() == 1


@pytest.mark.parametrize("shown", [(375, 740)], indirect=True)
def test_on_a_phone(shown: Shown) -> None:
    assert shown.overflow() <= 0
    shown.tab.locator("#chart path[aria-roledescription='point']").first.hover(force=True)
    shown.tab.wait_for_selector("#vg-tooltip-element.visible")
    tip = shown.tab.locator("#vg-tooltip-element").bounding_box()
    assert tip["x"] >= 0
    assert tip["x"] + tip["width"] <= 375
    shown.tab.get_by_role("button", name=EVIL, exact=True).click()
    for summary in shown.tab.locator(".details-box > details > summary").all():
        summary.click()
    shown.tab.wait_for_function("document.querySelectorAll('.curves svg').length === 3")
    assert shown.overflow() <= 0
    sizes = shown.tab.evaluate("""
        [...document.querySelectorAll('body *:not(script):not(style)')].filter(e => e.textContent.trim() && e.getClientRects().length)
        .map(e => parseFloat(getComputedStyle(e).fontSize))
    """)
    assert min(sizes) >= 14


def test_a_page_of_two_models_and_one_without_scores(browser: Any, tmp_path: Path) -> None:
    scores = [make_score(sae="a"), make_score(sae="b", model="gpt2", model_digest="g", value=0.9)]
    (tmp_path / "two.html").write_text(page(page_data(Store(tmp_path / "a.jsonl"), scores, title="two")).text())
    shown = Shown(browser, tmp_path / "two.html", 800, 600)
    assert shown.names() == ["a"]
    shown.redrawn(lambda: shown.tab.select_option("#model", label="gpt2"))
    assert shown.names() == ["b"]
    (tmp_path / "none.html").write_text(page(page_data(Store(tmp_path / "a.jsonl"), [], title="none")).text())
    shown.tab.goto((tmp_path / "none.html").as_uri())
    assert "no scores" in shown.tab.inner_text("#status")
    assert shown.complaints == []
    shown.tab.close()


@pytest.mark.parametrize("shown", [(1280, 900), (390, 844)], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_someone_out(shown: Shown, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python")
    shown.tab.emulate_media(color_scheme=scheme)
    for part in shown.tab.locator("details").all():
        part.evaluate("part => { part.open = true; }")
    shown.tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = shown.tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def test_two_saes_stand_side_by_side_and_the_address_says_which(shown: Shown) -> None:
    shown.redrawn(lambda: shown.tab.select_option("#a", label="zoo/topk-16"))
    first, second = shown.tab.input_value("#a"), shown.tab.input_value("#b")
    shown.redrawn(lambda: shown.tab.select_option("#b", index=2))
    assert shown.tab.locator("#compared tbody tr").count() > 0
    assert (first, second) != (shown.tab.input_value("#a"), shown.tab.input_value("#b"))
    address, rows = shown.tab.url, shown.tab.inner_text("#compared")
    shown.tab.goto("about:blank")
    shown.tab.goto(address)
    shown.tab.wait_for_selector("#chart[data-drawn] svg")
    assert shown.tab.inner_text("#compared") == rows
    shown.requests[1:] = []  # the page was read twice
