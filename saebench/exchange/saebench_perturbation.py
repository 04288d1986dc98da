"""SAEBench's `tpp` and `scr`: what probes say without the latents of a class, or of what they learned by mistake."""

from collections.abc import Mapping

from saebench.exchange.saebench_document import Json, Left, Measured, Part, model_config

NS = (2, 5, 10, 20, 50, 100, 500)
"""That the schema has names for."""
TPP, SCR = "probe_perturbation.tpp", "probe_perturbation.scr"
TPP_SAID = {
    "tpp_threshold_n_total_metric": "clean and perturbed accuracies are of the same texts, whose negatives SAEBench draws anew"
}
SCR_SAID = {
    "scr_metric_threshold_n": "both directions of all pairs of questions, pooled over texts, where SAEBench chooses one of each"
}


def tpp(sae: Measured, gaps: bool) -> Part:
    found: dict[int, dict[str, str]] = {n: {} for n in NS if sae.get(TPP, n=n) is not None}
    names = {n: f"tpp_threshold_{n}_total_metric" for n in found}
    rest = (f"tpp_threshold_{n}_{what}_diff_only" for n in NS for what in ("intended", "unintended"))
    return _part(
        sae, "tpp", TPP, found, names, {**dict.fromkeys(rest), **_empty("tpp_threshold_{}_total_metric")}, TPP_SAID
    )


def scr(sae: Measured, gaps: bool) -> Part:
    found = {n: {"put": "zero"} for n in NS if sae.get(SCR, n=n, put="zero") is not None}
    names = {n: f"scr_metric_threshold_{n}" for n in found}
    rest = (f"scr_dir{direction}_threshold_{n}" for n in NS for direction in (1, 2))
    return _part(sae, "scr", SCR, found, names, {**dict.fromkeys(rest), **_empty("scr_metric_threshold_{}")}, SCR_SAID)


def _empty(name: str) -> dict[str, None]:
    return dict.fromkeys(name.format(n) for n in NS)


def _part(
    sae: Measured, kind: str, prop: str, found: Mapping[int, Mapping[str, str]], names: Mapping[int, str],
    empty: Mapping[str, None], said: Mapping[str, str],
) -> Part:  # fmt: skip
    values = {names[n]: sae.value(prop, n=n, **more) for n, more in found.items()}
    if all(value is None for value in values.values()):
        raise Left(sae.unscored([prop]))
    used = [score for n, more in found.items() if (score := sae.get(prop, n=n, **more)) is not None]
    metrics = {**empty, **values}
    # Of our texts there is one table with many questions in it, which is called by its own name.
    details = [{"dataset_name": used[0].corpus, **metrics}]
    config: Json = {
        **model_config(used[0]), "dataset_names": [used[0].corpus], "perform_scr": kind == "scr", "n_values": sorted(found),
        "column1_vals_lookup": {},
    }  # fmt: skip
    each = {str(n): items for n, more in found.items() if (items := sae.by_item(prop, n=n, **more))}
    return Part(
        kind=kind, config=config, metrics={f"{kind}_metrics": metrics}, scores=used, details=details, definitions=said,
        beside={"per_class": each} if each else {},
    )  # fmt: skip
