// What opens below a row: all scores of an SAE, and their items.

function describe(sae) {
  const box = make("div", { class: "details-box" });
  const [architecture, width, l0, fvu] = sae.facts;
  box.append(make("p", {}, `${architecture}, width ${width}, L0 ${l0}, FVU ${fvu}; reads ${sae.reads}.`));
  box.append(make("p", { class: "note" }, `Texts: ${sae.texts.join("; ")}`));
  for (const group of new Set(model().columns.map((one) => one.group))) box.append(groupOf(sae, group));
  return box;
}

function groupOf(sae, group) {
  const places = model().columns.map((one, i) => [one, sae.cells[i]]).filter(([one]) => one.group === group);
  const scored = places.filter(([, one]) => "value" in one).length;
  const items = sae.items[group];
  const more = items ? ", with items" : "";
  const part = make("details", {}, make("summary", {}, `${group}: ${scored} of ${places.length} scored${more}`));
  part.addEventListener("toggle", () => {
    if (!part.open || part.dataset.filled) return;
    part.dataset.filled = "true";
    part.append(scoresTable(group, places), ...(items?.tables ?? []).flatMap(grid));
    for (const spec of items?.charts ?? []) curves(part, spec);
  });
  return part;
}

function scoresTable(group, places) {
  const rows = places.map(([one, score]) => {
    const name = make("th", { scope: "row" }, named(one));
    if (!("value" in score)) return make("tr", {}, name, make("td", { colspan: 5, class: "why" }, `unscored: ${score.why}`));
    const others = [score.n, score.floor ?? "—", score.ceiling ?? "—"].map((text) => make("td", {}, text));
    return make("tr", {}, name, scoreCell(score), ...others, make("td", { class: "wide" }, score.controls ?? ""));
  });
  return boxed(`Scores: ${group}`, ["score", "value", "n", "floor", "ceiling", BESIDE], rows);
}

function grid({ title: heading, header, rows, hints = [] }) {
  const made = rows.map(([first, ...rest], at) => make("tr", hints[at] ? { title: hints[at] } : {}, make("th", { scope: "row" }, first), ...rest.map((text) => make("td", {}, text))));
  return [make("h3", {}, heading), ...(made.length ? [boxed(heading, header, made)] : [])];
}

function boxed(label, header, rows) {
  const head = make("thead", {}, make("tr", {}, ...header.map((text) => make("th", text === BESIDE ? { scope: "col", class: "text" } : { scope: "col" }, text))));
  const table = make("table", {}, head, make("tbody", {}, ...rows));
  return make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
}

function curves(part, spec) {
  const box = make("div", { class: "curves" });
  part.append(box);
  const { title: heading, ...rest } = spec;
  box.before(make("h3", {}, heading));
  box.after(asTable(heading, spec));
  const fitted = { ...rest, description: heading, width: "container", height: 280, autosize: { type: "fit-x", contains: "padding" } };
  vegaEmbed(box, fitted, EMBED);
}

function asTable(heading, spec) {
  const values = spec.data.values;
  const names = [...new Set(values.map((value) => value.name))];
  const text = (value) => (value?.y == null ? "—" : String(Number(value.y.toPrecision(3))));
  const rows = [...new Set(values.map((value) => value.x))].map((x) => {
    const found = names.map((name) => values.find((value) => value.x === x && value.name === name));
    return make("tr", {}, make("th", { scope: "row" }, String(x)), ...found.map((value) => make("td", {}, text(value))));
  });
  const head = [spec.encoding.x.title, ...names];
  return make("details", {}, make("summary", {}, "The same as a table"), boxed(heading, head, rows));
}
