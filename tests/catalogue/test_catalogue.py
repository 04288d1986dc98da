"""What fixtures/*.toml say of 13,000 SAEs is what sae-lens's registry and converters and transformer-lens's sizes say."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hub_repos
import pytest
from factories import make_sae_folder
from hub import Hub, empty_hub, environment
from paths import ROOT

from saebench.catalogue.families import Family, harmless
from saebench.catalogue.marks import UnknownSAE
from saebench.catalogue.pretrained import model_on_hub, releases
from saebench.catalogue.registry import families, resolve, resolve_all
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.templates import number
from saebench.hub.files import missing
from saebench.hub.hub import Repo
from saebench.hub.listing import listed
from saebench.hub.needs import ensure, of_sae
from saebench.record.naming import natural
from saebench.record.places import fixtures_dir

COMPUTED = ("gemma_2", "gemma_2_transcoder", "gemma_3", "qwen_scope", "goodfire", "deepseek_r1")
"""Formats of which sae-lens makes the configuration of an address, with no more of the file than its header."""
SCOPE = "gemmascope"
WIDTHS = {
    "4k": 2**12, "16k": 2**14, "32k": 2**15, "64k": 2**16, "65k": 2**16, "80k": 81920, "128k": 2**17, "131k": 2**17,
    "262k": 2**18, "524k": 2**19, "1m": 2**20,
}  # fmt: skip
NOT_IN_A_FAMILY = {
    "gemma-2-2b-res-matryoshka-dc", "gemma-2-2b-res-snap-matryoshka-dc", "gemma-2-9b-res-matryoshka-dc",
    "gemma-2b-it-res-jb", "gemma-2b-res-jb", "gemma-3-1b-res-matryoshka-dc", "gpt-oss-20b-andyrdt",
    "mistral-7b-res-wg", "mntss-gemma-2-2b-2.5m-clt-as-per-layer", "saebench_gemma-2-2b_width-2pow12_date-0108",
    "temporal-sae-gemma-2-2b", "temporal-sae-llama-3.1-8b",
}  # fmt: skip
"""Releases that `saelens:` alone reaches; one of them lists a part of what the family saebench has whole."""
COMMIT = "0123456789abcdef" * 2 + "01234567"
NOT_READ = ("temporal", "mntss_clt_layer_transcoder")


# The catalogue, the registry, and what sae-lens makes of an address


@cache
def catalogue() -> dict[str, SAESpec]:
    """Every SAE of every family but the embedded one, by its name."""
    known = [family for family in families() if "path" not in family.table]
    return {name: read() for family in known for name, read in family.readers.items()}


def of_family(name: str) -> dict[str, SAESpec]:
    return {key: spec for key, spec in catalogue().items() if key.startswith(f"{name}/")}


@cache
def registered() -> dict[str, tuple[str, str]]:
    """Repository and path of everything in sae-lens's registry, by RELEASE/SAE_ID."""
    return {
        f"{release}/{sae['id']}": (about["repo_id"], str(sae["path"]))
        for release, about in releases().items()
        for sae in about["saes"]
    }


def release_of(spec: SAESpec) -> str:
    return str(spec.release).partition("/")[0]


@cache
def said() -> dict[str, dict[str, Any]]:
    """sae-lens's configuration of every address that it needs no more than a header for, by RELEASE/SAE_ID."""
    from sae_lens.loading import pretrained_sae_loaders as converters

    found = {}
    with (
        patch.object(converters, "hf_hub_download", no_file),
        patch.object(converters, "get_safetensors_tensor_shapes", header),
    ):
        for release, about in releases().items():
            if about.get("conversion_func") in COMPUTED:
                for sae in about["saes"]:
                    config = converters.load_sae_config_from_huggingface(release, sae["id"])
                    found[f"{release}/{sae['id']}"] = {**config.pop("metadata"), **config}
    return found


def no_file(*_: Any, **__: Any) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    raise LocalEntryNotFoundError("sae-lens infers what config.json would say")


def header(repo: str, file: str) -> dict[str, list[int]]:
    """Shapes that a file of Gemma Scope 2 has by transformer-lens's sizes of its model and the width in its name."""
    match = re.search(r"_width_(\d+[km])_", file)
    assert match, file
    size, kind = repo.removeprefix("google/gemma-scope-2-").split("-")
    d_model, attention, _ = sizes(f"google/gemma-3-{size}" + ("" if (size, kind) == ("270m", "pt") else f"-{kind}"))
    d_in = attention if "attn_out" in file else d_model
    return {"w_enc": [d_in, WIDTHS[match[1]]], "w_dec": [WIDTHS[match[1]], d_in]}


@cache
def sizes(model: str) -> tuple[int, int, int]:
    """Width of the residual stream and of all heads together, and layers, which transformer-lens has by heart."""
    from transformer_lens.loading_from_pretrained import convert_hf_model_config

    config = convert_hf_model_config(model)
    return config["d_model"], config["n_heads"] * config["d_head"], config["n_layers"]


def differing(check: Callable[[str, SAESpec], tuple[Any, Any]], specs: dict[str, SAESpec]) -> dict[str, Any]:
    """What the two sides of a check say where they do not agree; the first few, and how many there are."""
    every = {name: pair for name, spec in specs.items() if (pair := check(name, spec))[0] != pair[1]}
    return {"differ": len(every), **dict(list(every.items())[:5])} if every else {}


def computed() -> dict[str, SAESpec]:
    return {name: spec for name, spec in catalogue().items() if spec.format in COMPUTED}


# Against sae-lens


def test_all_computed_formats_are_compared() -> None:
    count = Counter(spec.format for spec in computed().values())
    assert set(count) == set(COMPUTED)
    assert sum(count.values()) >= 12_189
    assert {spec.release for spec in computed().values()} == set(said())


FACTS = ("hook", "hook_out", "context_size", "d_in", "d_sae", "architecture", "model")
SAID: dict[str, Callable[[dict[str, Any]], Any]] = {
    "hook": lambda config: reads(config),
    "model": lambda config: model_on_hub(config["model_name"]),
    "hook_out": lambda config: config.get("hook_name_out"),
    "context_size": lambda config: config.get("context_size"),
}


def reads(config: dict[str, Any]) -> str:
    """T10: for sae-lens the input of Gemma 3's MLP is what goes into the norm; what it was trained on comes out."""
    norm = str(config.get("hf_hook_name")).endswith("pre_feedforward_layernorm.output")
    return str(config["hook_name"]).replace("hook_mlp_in", "ln2.hook_out") if norm else str(config["hook_name"])


def by_sae_lens(fact: str, spec: SAESpec) -> Any:
    config = said()[str(spec.release)]
    return SAID[fact](config) if fact in SAID else config.get(fact)


@pytest.mark.parametrize("fact", FACTS)
def test_no_fact_contradicts_sae_lens(fact: str) -> None:
    told = {name: spec for name, spec in computed().items() if getattr(spec, fact) is not None}
    assert differing(lambda _, spec: (getattr(spec, fact), by_sae_lens(fact, spec)), told) == {}


@pytest.mark.parametrize("fact", FACTS)
def test_no_fact_is_left_open_that_sae_lens_knows(fact: str) -> None:
    left = {name: spec for name, spec in computed().items() if getattr(spec, fact) is None}
    assert differing(lambda _, spec: (getattr(spec, fact), by_sae_lens(fact, spec)), left) == {}


def test_sequences_begin_with_bos_as_sae_lens_says() -> None:
    # Goodfire's say nothing.
    told = {name: spec for name, spec in computed().items() if "prepend_bos" in said()[str(spec.release)]}
    assert differing(lambda _, spec: (spec.prepend_bos, by_sae_lens("prepend_bos", spec)), told) == {}


def test_loaders_translate_hooks_as_the_catalogue_does() -> None:
    from saebench.saes.loaders.files import hook_of

    def both(_: str, spec: SAESpec) -> tuple[Any, Any]:
        config = said()[str(spec.release)]
        return spec.hook, hook_of(config["hook_name"], config.get("hf_hook_name"))

    assert differing(both, computed()) == {}
    moved = [config for config in said().values() if config["hook_name"].endswith("hook_mlp_in")]
    assert len(moved) > 3500
    assert all(config["hf_hook_name"].endswith("pre_feedforward_layernorm.output") for config in moved)


def test_address_of_sae_lens_names_the_same_model() -> None:
    """`saelens:RELEASE/SAE_ID` runs on the registry's model, which has to be the converter's."""
    found = {release: model_on_hub(releases()[release]["model"]) for release in {r.partition("/")[0] for r in said()}}
    addresses = {
        release: resolve(f"saelens:{release}/{next(iter(releases()[release]['saes']))['id']}") for release in found
    }
    asked = {release: spec for release, (spec,) in addresses.items()}
    assert differing(lambda _, spec: (spec.model, by_sae_lens("model", spec)), asked) == {}


def test_every_sae_of_a_release_has_one_model() -> None:
    models: dict[str, set[str]] = {}
    for name, config in said().items():
        models.setdefault(name.partition("/")[0], set()).add(config["model_name"])
    assert {release: found for release, found in models.items() if len(found) > 1} == {}


def test_centred_is_where_the_registry_centres_weights() -> None:
    def both(_: str, spec: SAESpec) -> tuple[bool, bool]:
        overrides = releases()[release_of(spec)].get("config_overrides") or {}
        return spec.centred, bool(overrides.get("model_from_pretrained_kwargs", {}).get("center_writing_weights"))

    known = {name: spec for name, spec in catalogue().items() if spec.release}
    assert differing(both, known) == {}
    centred = {release_of(spec) for spec in catalogue().values() if spec.centred}
    overridden = {
        release for release, about in releases().items() if "center_writing_weights" in str(about.get("config_overrides"))
    }  # fmt: skip
    assert centred == overridden == {"gpt2-small-res-jb", "gpt2-small-res-jb-feature-splitting", "gpt2-small-mlp-tm"}
    assert not any(spec.centred for spec in catalogue().values() if not spec.release)


def test_l0_is_the_registrys() -> None:
    every = {f"{release}/{sae['id']}": sae.get("l0") for release, about in releases().items() for sae in about["saes"]}
    known = {name: spec for name, spec in catalogue().items() if every.get(str(spec.release)) is not None}
    assert len(known) > 11_000
    assert differing(lambda _, spec: (spec.facts["l0"], every[str(spec.release)]), known) == {}


# Against transformer-lens


def width_at(spec: SAESpec) -> int:
    d_model, attention, _ = sizes(str(spec.model))
    return attention if str(spec.hook).endswith("hook_z") else d_model


KNOWN_SIZES = re.compile(r"google/gemma-[23]-.*|meta-llama/.*")


def sized() -> dict[str, SAESpec]:
    """SAEs of models whose sizes transformer-lens has in its code."""
    return {name: spec for name, spec in catalogue().items() if KNOWN_SIZES.fullmatch(str(spec.model))}


def test_d_in_is_what_the_model_has_there() -> None:
    known = {name: spec for name, spec in sized().items() if spec.d_in is not None}
    assert len(known) > 12_000
    assert differing(lambda _, spec: (spec.d_in, width_at(spec)), known) == {}


def test_layers_are_layers_of_the_model() -> None:
    def beyond(_: str, spec: SAESpec) -> tuple[bool, bool]:
        layer = re.match(r"blocks\.(\d+)\.", str(spec.hook))
        return (int(layer[1]) < sizes(str(spec.model))[2] if layer else spec.hook == "hook_embed"), True

    assert differing(beyond, sized()) == {}


def test_every_gemma_scope_has_a_known_size() -> None:
    assert set(of_family(SCOPE)) <= set(sized())
    models = {str(spec.model) for spec in of_family(SCOPE).values()}
    gemma_2 = {"google/gemma-2-2b", "google/gemma-2-9b", "google/gemma-2-9b-it", "google/gemma-2-27b"}
    kinds = {f"{size}-{kind}" for size in ("1b", "4b", "12b", "27b") for kind in ("pt", "it")}
    assert models == gemma_2 | {f"google/gemma-3-{kind}" for kind in {*kinds, "270m", "270m-it"}}


def test_gpt2_has_its_default_size() -> None:
    from transformers import GPT2Config

    assert {spec.d_in for spec in of_family("gpt2").values()} == {GPT2Config().n_embd}


# Names and addresses


def test_gemmascope_reaches_all_of_gemma_scope_under_one_name_each() -> None:
    wanted = {release for release in registered() if release.startswith("gemma-scope")}
    reached = Counter(spec.release for spec in of_family(SCOPE).values())
    assert set(reached) == wanted
    assert {name for name, spec in of_family(SCOPE).items() if reached[spec.release] > 1} == set()
    assert len(of_family(SCOPE)) == len(wanted) >= 11_643


def test_a_glob_over_gemmascope_gives_each_address_once() -> None:
    found = Counter((spec.repo, spec.location) for spec in resolve(f"{SCOPE}/*"))
    assert set(found) == {registered()[release] for release in registered() if release.startswith("gemma-scope")}
    assert set(found.values()) == {1}
    assert len(found) >= 11_214


def test_every_other_release_is_reached_or_known_not_to_be() -> None:
    reached = {spec.release for spec in catalogue().values() if spec.release}
    left = {release.partition("/")[0] for release in set(registered()) - reached}
    assert left == NOT_IN_A_FAMILY
    assert not {release.partition("/")[0] for release in reached} & NOT_IN_A_FAMILY


def test_how_many_saes_there_are() -> None:
    """13,388 and the embedded model's 30 by address; README.md says 13,000."""
    every = resolve("*/*")
    addresses = {(spec.repo, spec.location) for spec in every}
    assert len(addresses) == len(every) >= 13_418
    assert len(catalogue()) >= 13_817


@pytest.mark.parametrize("family", [f for f in families() if "path" not in f.table], ids=lambda family: family.name)
def test_no_pattern_is_idle_and_no_two_give_one_name(family: Family) -> None:
    alone = [Family(family.name, {**family.table, "suite": [suite]}, family.path) for suite in family.table["suite"]]
    assert [suite.table["suite"][0]["name"] for suite in alone if not suite.readers] == []
    assert sum(len(suite.readers) for suite in alone) == len(family.readers)


def test_names_are_harmless_and_hold_no_value_that_is_missing() -> None:
    assert [name for name in catalogue() if not harmless(name) or "None" in name or "{" in name] == []
    assert [name for name, spec in catalogue().items() if spec.name != name] == []
    assert all(spec.hook and spec.model and spec.repo and spec.corpus for spec in catalogue().values())


def test_names_of_different_saes_differ_in_more_than_case() -> None:
    """A score's file lies on file systems that do not tell them apart."""
    assert len({name.lower() for name in catalogue()}) == len(catalogue())


def test_names_come_in_natural_order() -> None:
    for family in families():
        names = list(family.readers)
        assert names == sorted(names, key=natural)


STABLE = {
    "gemmascope/2b/layer-12/16k": ("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82"),
    "gemmascope/2b/layer-12/16k/l0-41": ("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_41"),
    "gemmascope/9b/att/layer-41/131k": ("google/gemma-scope-9b-pt-att", "layer_41/width_131k/average_l0_92"),
    "gemmascope/2b/embedding/4k/l0-111": ("google/gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_111"),
    "gemmascope/v2-1b-pt/layer-13/16k/l0-medium": (
        "google/gemma-scope-2-1b-pt", "resid_post/layer_13_width_16k_l0_medium",
    ),
    "gemmascope/v2-1b-pt/all/transcoder/layer-3/16k/l0-small-affine": (
        "google/gemma-scope-2-1b-pt", "transcoder_all/layer_3_width_16k_l0_small_affine",
    ),
    "gpt2/bloom/layer-8/resid_pre": ("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre"),
    "pythia/sweep/topk/layer-3/trainer-10": (
        "canrager/lm_sae",
        "pythia70m_sweep_topk_ctx128_0730/resid_post_layer_3/trainer_10",
    ),
    "llama/scope/layer-15/res/8x": ("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x"),
    "qwen/scope/3.5-27b/layer-63/80k/l0-100": ("Qwen/SAE-Res-Qwen3.5-27B-W80K-L0_100", "layer63.sae.pt"),
    "saebench/gemma-2-2b/2pow12/TopK/trainer-2": (
        "adamkarvonen/saebench_gemma-2-2b_width-2pow12_date-0108",
        "TopK_gemma-2-2b__0108/resid_post_layer_12/trainer_2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STABLE)
def test_names_that_scores_may_be_stored_under(name: str) -> None:
    assert (catalogue()[name].repo, catalogue()[name].location) == STABLE[name]


def test_listed_addresses_are_those_of_the_registry_where_it_has_them() -> None:
    release = "saebench_gemma-2-2b_width-2pow12_date-0108"
    listed = {(spec.repo, spec.location) for spec in of_family("saebench").values() if spec.release is None}
    wanted = {address for name, address in registered().items() if name.startswith(f"{release}/")}
    assert len(wanted) == 6
    assert wanted <= listed
    assert len(listed) == (1 + 2) * 7 * 6


# What users type


@pytest.mark.parametrize(("family", "count"), [(SCOPE, 4), ("gpt2", 1), ("llama", 1), ("pythia", 2), ("qwen", 1), ("saebench", 7)])  # fmt: skip
def test_bare_name_is_its_documented_default(family: str, count: int) -> None:
    (known,) = [found for found in families() if found.name == family]
    patterns = [f"{family}/{pattern}" for pattern in known.default]
    each = [[spec.name for spec in resolve(pattern)] for pattern in patterns]
    assert all(each)
    names = [spec.name for spec in resolve(family)]
    assert names == [name for names in each for name in names]
    assert len(names) == count


def test_slash_behind_a_family_changes_nothing() -> None:
    assert resolve("saebench/") == resolve("saebench")


def test_gemmascope_is_what_the_readme_says() -> None:
    specs = resolve(SCOPE)
    assert {(spec.model, spec.hook) for spec in specs} == {("google/gemma-2-2b", "blocks.12.hook_resid_post")}
    assert [(spec.d_sae, spec.facts["l0"]) for spec in specs] == [(16384, 41), (16384, 82), (16384, 176), (65536, 72)]
    assert specs[1].name == "gemmascope/2b/layer-12/16k"


def test_canonical_is_one_sae() -> None:
    (spec,) = resolve("gemmascope/2b/layer-12/16k")
    assert spec.location == "layer_12/width_16k/average_l0_82"
    assert spec.release == "gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical"
    assert (spec.d_in, spec.d_sae, spec.context_size, spec.facts["l0"]) == (2304, 16384, 1024, 82)


def test_canonical_is_closest_to_an_l0_of_100() -> None:
    """By the registry's paths: the file that is called canonical is one of the sparsities."""
    paths = {name: path for name, (_, path) in registered().items()}
    for name, path in paths.items():
        if name.startswith("gemma-scope-2b-pt-res-canonical/layer_12/"):
            width = path.rpartition("_")[0]
            l0s = {int(p.rpartition("_")[2]) for n, p in paths.items() if p.startswith(width) and "2b-pt-res/" in n}
            assert int(path.rpartition("_")[2]) == min(l0s, key=lambda l0: abs(l0 - 100)), path


def test_every_sparsity_of_a_width() -> None:
    found = [(spec.repo, spec.location) for spec in resolve("gemmascope/2b/layer-*/65k/l0-*")]
    paths = {
        address for name, address in registered().items()
        if name.startswith("gemma-scope-2b-pt-res/") and "/width_65k/" in address[1]
    }  # fmt: skip
    assert set(found) == paths
    assert len(found) == len(paths) > 100
    assert {path for _, path in found} >= {f"layer_12/width_65k/average_l0_{l0}" for l0 in (21, 38, 72, 141, 297)}


def test_canonical_of_every_layer() -> None:
    found = resolve("gemmascope/2b/layer-*/16k")
    assert [spec.name for spec in found] == [f"gemmascope/2b/layer-{layer}/16k" for layer in range(26)]


def test_patterns_that_overlap_in_a_default(tmp_path: Path) -> None:
    """A family's own author may list one SAE and then all of its kind."""
    text = (fixtures_dir() / "gpt2.toml").read_text()
    old, new = 'default = ["bloom/layer-8/resid_pre"]', 'default = ["bloom/layer-8/resid_pre", "bloom/*"]'
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    found = resolve("mine", tmp_path)
    assert found[0].name == "mine/bloom/layer-8/resid_pre"
    assert len(found) == len({spec.name for spec in found}) == 13


def test_reading_an_sae_twice_gives_the_same() -> None:
    (family,) = [family for family in families() if family.name == "gpt2"]
    read = family.readers["gpt2/bloom/layer-8/resid_pre"]
    assert read() == read()


@pytest.mark.parametrize("pattern", ["llama/scope/layer-15/res/8x", "saelens:gpt2-small-res-jb/blocks.8.hook_resid_pre", "hf:org/repo/path"])  # fmt: skip
@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "v1.0", COMMIT])
def test_revision_of_the_hub(pattern: str, revision: str) -> None:
    (plain,), (spec,) = resolve(pattern), resolve(f"{pattern}@{revision}")
    assert (spec.revision, spec.name) == (revision, f"{plain.name}@{revision[:12]}")
    assert (spec.repo, spec.location, spec.hook, spec.release) == (
        plain.repo,
        plain.location,
        plain.hook,
        plain.release,
    )


@pytest.mark.parametrize("revision", ["main", "release-candidate", COMMIT])
def test_control_is_made_for_the_sae_at_its_revision(revision: str) -> None:
    (control,) = resolve(f"llama/scope/layer-15/res/8x@{revision}~pca")
    assert control.origin == resolve(f"llama/scope/layer-15/res/8x@{revision}")[0]


def test_two_branches_with_long_names_are_two_saes() -> None:
    patterns = [f"llama/scope/layer-15/res/8x@release-candidate-{number}" for number in (1, 2)]
    assert [spec.revision for spec in resolve_all(patterns)] == ["release-candidate-1", "release-candidate-2"]


def test_revision_of_a_family() -> None:
    assert [spec.revision for spec in resolve(f"{SCOPE}@main")] == ["main"] * 4
    assert [spec.revision for spec in resolve(SCOPE)] == [None] * 4


def test_revision_of_what_lies_here(tmp_path: Path) -> None:
    for pattern in ("organism/topk-16", str(make_sae_folder(tmp_path / "mine"))):
        with pytest.raises(UnknownSAE, match=r"only an SAE of the hub has revisions, and \S+ is not on the hub$"):
            resolve(f"{pattern}@main")


@pytest.mark.parametrize("revision", ["", "a b", "main;rm", "é", "a//b", "../x", "a/../b"])
def test_what_is_no_revision(revision: str) -> None:
    with pytest.raises(UnknownSAE, match=r"^--sae llama/scope/layer-15/res/8x@.*is no branch, tag or commit$"):
        resolve(f"llama/scope/layer-15/res/8x@{revision}")


# Widths, hooks, contexts


@pytest.mark.parametrize(("text", "width"), [*WIDTHS.items(), ("24576", 24576), ("768", 768), ("2pow14", 2**14)])
def test_width_by_its_name(text: str, width: int) -> None:
    assert number(text, "d_sae") == width


def test_width_in_the_name_is_the_width() -> None:
    def both(name: str, spec: SAESpec) -> tuple[int | None, int | None]:
        (text,) = width.findall(name)
        return spec.d_sae, WIDTHS.get(text) or int(text.removeprefix("splitting/layer-8/"))

    width = re.compile(r"(?<=/)\d+[km](?=/|$)|splitting/layer-8/\d+")
    wide = {name: spec for name, spec in catalogue().items() if width.search(name)}
    assert len(wide) > 12_200
    assert differing(both, wide) == {}
    assert {text for name in wide for text in width.findall(name) if text[-1] in "km"} == set(WIDTHS)


def test_width_as_a_power_is_the_width() -> None:
    powers = {name: int(found[1]) for name in catalogue() if (found := re.search(r"/2pow(\d+)/", name))}
    assert len(powers) == 750
    assert {name for name, power in powers.items() if catalogue()[name].d_sae != 2**power} == set()


def test_llama_scope_is_as_many_times_as_wide() -> None:
    scope = {name: spec for name, spec in catalogue().items() if name.startswith("llama/scope/")}
    assert len(scope) == 192
    assert {(name.rpartition("/")[2], spec.d_sae, spec.d_in) for name, spec in scope.items()} == {
        ("8x", 8 * 4096, 4096), ("32x", 32 * 4096, 4096),
    }  # fmt: skip


def test_place_in_llama_scope_is_the_letter_in_its_path() -> None:
    places = {"R": "hook_resid_post", "A": "hook_attn_out", "M": "hook_mlp_out"}

    def both(_: str, spec: SAESpec) -> tuple[Any, Any]:
        match = re.search(r"L(\d+)([RAM])\b", spec.location)
        assert match, spec.location
        return spec.hook, f"blocks.{match[1]}.{places[match[2]]}"

    scope = {name: spec for name, spec in catalogue().items() if str(spec.format).startswith("llama_scope")}
    assert len(scope) == 192 + 96
    assert differing(both, scope) == {}


def test_hook_is_the_one_in_the_id() -> None:
    def both(_: str, spec: SAESpec) -> tuple[str | None, str]:
        sae_id = str(spec.release).partition("/")[2]
        match = re.match(r"blocks\.(\d+)\.hook_(resid_pre|resid_mid|resid_post|mlp_out|attn_out|z)(_|$)", sae_id)
        assert match, sae_id
        return spec.hook, f"blocks.{match[1]}.{'attn.' if match[2] == 'z' else ''}hook_{match[2]}"

    known = {n: spec for n, spec in catalogue().items() if str(spec.release).partition("/")[2].startswith("blocks.")}
    assert {spec.format for spec in known.values()} >= {"sae_lens", "dictionary_learning_1", "connor_rob_hook_z"}
    assert len(known) > 900
    assert {n for n, spec in catalogue().items() if spec.format == "sae_lens"} <= set(known)
    assert differing(both, known) == {}


def test_layer_is_the_one_in_the_path() -> None:
    def both(_: str, spec: SAESpec) -> tuple[str, str]:
        hook = re.match(r"blocks\.(\d+)\.", str(spec.hook))
        path = re.search(r"(?:layer_?|blocks\.|_L|-L|/L|-l)(\d+)|^(\d+)-(?:res|att|mlp)[-_]", spec.location)
        # What Marks et al. call e is what goes into the first block.
        wanted = (path[1] or path[2]) if path else {"e-res-sm": "0"}[spec.location]
        return hook and hook[1], wanted

    read = {name: spec for name, spec in catalogue().items() if spec.hook != "hook_embed"}
    assert {name for name in catalogue() if "/embedding/" in name} == set(catalogue()) - set(read)
    assert differing(both, read) == {}


def test_transcoders_write_the_mlps_output() -> None:
    """And only transcoders write elsewhere than they read."""

    def both(_: str, spec: SAESpec) -> tuple[Any, Any]:
        layer = str(spec.hook).split(".")[1] if spec.architecture and "transcoder" in spec.architecture else None
        return spec.hook_out, layer and f"blocks.{layer}.hook_mlp_out"

    assert differing(both, catalogue()) == {}


def test_context_of_blooms_saes() -> None:
    bloom = {name: spec for name, spec in catalogue().items() if release_of(spec) == "gpt2-small-res-jb"}
    read = {*(f"gpt2/bloom/layer-{layer}/resid_pre" for layer in range(12)), "gpt2/bloom/layer-11/resid_post"}
    assert set(bloom) == read
    assert {spec.context_size for spec in bloom.values()} == {128}
    assert {(spec.d_sae, spec.architecture) for spec in bloom.values()} == {(24576, "standard")}


def test_context_of_the_sweep_is_the_one_in_its_name() -> None:
    sweep = [spec for name, spec in catalogue().items() if name.startswith("pythia/sweep/")]
    assert all("_ctx128_" in release_of(spec) for spec in sweep)
    assert {spec.context_size for spec in sweep} == {128}


# Lists

HEADER = ["name", "model", "hook", "width", "l0", "size", "cached"]
LIGHT = "assert not {'torch', 'sae_lens', 'transformers', 'transformer_lens'} & set(sys.modules), 'heavy'"
BY_COMMAND = "from saebench.cli import main; listed = lambda p: main(['ls', p] if p else ['ls'])"
BY_PYTEST = "import pytest; listed = lambda p: pytest.main(['--sae-list', p] if p else ['--sae-list'])"
EVERY = "import sys; {}\nfor p in sys.argv[1:]:\n    code = listed(p)\n    print('exit code', int(code))\n{}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with empty_hub(tmp_path, monkeypatch) as served:
        yield served


def lists(by: str, patterns: list[str], **variables: str) -> list[list[str]]:
    """Lines of a list for each pattern, its exit code last, of a process of its own that imports nothing heavy."""
    code, env = EVERY.format(by, LIGHT), {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-c", code, *patterns]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr
    lines = re.split(r"(?<=exit code \d)\n", found.stdout)
    return [text.splitlines() for text in lines[:-1]]


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


PATTERNS = ["", SCOPE, "gemmascope/2b/transcoder/layer-3/*", "organism", "gemmascope/2b/layer-99/16k"]


@pytest.mark.parametrize("by", [BY_COMMAND, BY_PYTEST], ids=["saebench ls", "pytest --sae-list"])
def test_lists(hub: Hub, tmp_path: Path, by: str) -> None:
    content, folder = cached(hub), make_sae_folder(tmp_path / "mine")
    asked = len(hub.log)
    found = lists(by, [*PATTERNS, str(folder)], **environment(hub, tmp_path / "hf"))
    assert len(hub.log) == asked, "a list asks nothing of the hub"
    assert [int(lines.pop().removeprefix("exit code ")) for lines in found] == [0, 0, 0, 0, 4, 0]
    check_families(found[0])
    check_scope(found[1], f"{len(content) / 1e6:.1f} MB")
    hooks = "blocks.3.ln2.hook_normalized -> blocks.3.hook_mlp_out"
    name = "gemmascope/2b/transcoder/layer-3/16k/l0-54"
    assert cells(found[2][-1]) == [name, "google/gemma-2-2b", hooks, "16384", "54", "~302 MB", "no"]
    assert {(cells(line)[1], cells(line)[6]) for line in found[3][2:-1]} == {("organism", "local")}
    assert found[3][-1] == "30 SAEs"
    assert found[4] == []
    assert cells(found[5][-1]) == [f"local/{folder}", "tiny", "blocks.2", "8", "16.100", "0.0 MB", "local"]


def cached(hub: Hub) -> bytes:
    """One of the four SAEs that the bare name stands for is fetched."""
    (spec,) = resolve("gemmascope/2b/layer-12/16k")
    content = hub_repos.gemma_scope_npz(64, 4000)
    hub.add(str(spec.repo), {f"{spec.location}/params.npz": content})
    ensure(of_sae(spec), print)
    return content


def check_families(lines: list[str]) -> None:
    rows = {cells(line)[0]: cells(line)[1:3] for line in lines[2:]}
    assert {name: int(row[0]) for name, row in rows.items()} == {f.name: len(f.readers) for f in families()}
    assert rows[SCOPE][1] == "2b/layer-12/16k/l0-41, 2b/layer-12/16k, 2b/layer-12/16k/l0-176, 2b/layer-12/65k"
    assert rows["organism"][1] == "all"


def check_scope(lines: list[str], size: str) -> None:
    gemma = ["google/gemma-2-2b", "blocks.12.hook_resid_post"]
    assert cells(lines[0]) == HEADER
    assert [cells(line) for line in lines[2:-1]] == [
        ["gemmascope/2b/layer-12/16k/l0-41", *gemma, "16384", "41", "~302 MB", "no"],
        ["gemmascope/2b/layer-12/16k", *gemma, "16384", "82", size, "yes"],
        ["gemmascope/2b/layer-12/16k/l0-176", *gemma, "16384", "176", "~302 MB", "no"],
        ["gemmascope/2b/layer-12/65k", *gemma, "65536", "72", "~1.2 GB", "no"],
    ]
    assert lines[-1] == "4 SAEs"


def test_revision_that_is_not_the_one_in_the_cache(hub: Hub) -> None:
    (spec,) = resolve("llama/goodfire/3.1-8b-instruct/layer-19")
    first = hub.add(str(spec.repo), {spec.location: b"one"})
    newest = hub.add(str(spec.repo), {spec.location: b"two"})
    ensure(of_sae(spec), print)
    (old,), (new,) = (resolve(f"{spec.name}@{commit}") for commit in (first, newest))
    assert (missing(spec), missing(new), missing(old)) == ([], [], [spec.location])
    assert cells(listed(old.name.replace(first[:12], first)).splitlines()[-1])[-1] == "no"
    ensure(of_sae(old), print)
    assert [Path(str(Repo(str(s.repo), str(s.revision)).local(s.location))).read_bytes() for s in (old, new)] == [
        b"one", b"two",
    ]  # fmt: skip


def test_every_release_of_sae_lens_can_be_listed() -> None:
    """What cannot be read is told in one sentence."""
    for release, about in releases().items():
        spec = resolve(f"saelens:{release}/{about['saes'][0]['id']}")[0]
        if about.get("conversion_func") in NOT_READ:
            with pytest.raises(ValueError, match=f"^{re.escape(spec.name)}: .*(contexts|cross-layer)"):
                missing(spec)
        else:
            assert all(missing(spec)), release
