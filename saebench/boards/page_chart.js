// The chart: what is drawn, and what its caption says.

function channel(key, field) {
  const log = key === "l0" || key === "width";
  const scale = log ? { type: "log", base: 2, nice: false, padding: 14 } : { zero: false, padding: 14 };
  const axis = { title: title(key), tickCount: log ? 6 : 5, titleLimit: 300, ...(log ? { format: "~g" } : {}) };
  return { field, type: "quantitative", scale, axis };
}

function points() {
  const rows = [];
  for (const sae of shown()) {
    const [x, y] = [cell(sae, state.x), cell(sae, state.y)];
    const drawable = (value, key) => value !== undefined && (value > 0 || !["l0", "width"].includes(key));
    if (!drawable(x.value, state.x) || !drawable(y.value, state.y)) continue;
    const [architecture, width, l0, fvu] = sae.facts;
    rows.push({
      name: sae.name, kind: sae.kind, front: Boolean(y.front), architecture, width, l0, fvu, x: x.value, y: y.value,
      xlow: x.low ?? x.value, xhigh: x.high ?? x.value, ylow: y.low ?? y.value, yhigh: y.high ?? y.value,
      xtext: x.text, ytext: y.text, n: y.n ?? "",
    });
  }
  return rows;
}

function frontSteps(rows) {
  if (state.x !== "l0" || state.y in FACTS) return [];
  const steps = rows.filter((row) => row.front).sort((a, b) => a.x - b.x).map(({ x, y }) => ({ x, y }));
  const last = Math.max(...rows.filter((row) => row.kind !== "control").map((row) => row.x));
  return steps.length ? [...steps, { x: last, y: steps.at(-1).y }] : [];
}

function chartSpec(rows) {
  const kinds = Object.keys(data.looks);
  const coded = (values) => ({ field: "kind", type: "nominal", legend: null, scale: { domain: kinds, range: values } });
  const colours = kinds.map((kind) => data.looks[kind].colour);
  const tips = [["name", "SAE"], ["architecture", "architecture"], ["width", "width"], ["l0", "L0"], ["fvu", "FVU"]];
  if (!(state.y in FACTS)) tips.push(["ytext", title(state.y)], ["n", "n"]);
  if (!(state.x in FACTS)) tips.push(["xtext", title(state.x)]);
  const steps = frontSteps(rows);
  const line = { type: "line", interpolate: "step-after", color: "#333333", strokeWidth: 1.3 };
  const bar = { type: "rule", color: "#555555", opacity: 0.55 };
  return {
    width: "container", height: window.innerWidth < 640 ? 300 : 420, autosize: { type: "fit", contains: "padding" },
    description: `${title(state.y)} against ${title(state.x)}; the table below has the same numbers`,
    params: [{ name: "active", value: "" }],
    data: { values: rows },
    encoding: { x: channel(state.x, "x"), y: channel(state.y, "y") },
    layer: [
      ...(steps.length ? [{ data: { values: steps }, mark: line }] : []),
      { mark: bar, encoding: { y: { field: "ylow", type: "quantitative" }, y2: { field: "yhigh" } } },
      { mark: bar, encoding: { x: { field: "xlow", type: "quantitative" }, x2: { field: "xhigh" } } },
      {
        mark: { type: "point", opacity: 0.9, strokeWidth: 1.4, cursor: "pointer" },
        encoding: {
          stroke: coded(colours),
          fill: coded(kinds.map((kind, i) => (kind === "control" ? "#ffffff" : colours[i]))),
          shape: coded(kinds.map((kind) => data.looks[kind].shape)),
          size: { condition: { test: "datum.name === active", value: 320 }, value: 90 },
          tooltip: tips.map(([field, name]) => ({ field, type: "nominal", title: name })),
        },
      },
    ],
  };
}

async function drawChart() {
  const turn = ++drawing;
  const rows = points();
  caption(rows);
  view?.finalize();
  view = null;
  // A box of its own: what is still being drawn when the reader chooses anew goes away with its box.
  const box = make("div", { class: "plot" });
  byId("chart").replaceChildren(box);
  if (rows.length) {
    const made = await vegaEmbed(box, chartSpec(rows), EMBED);
    if (turn !== drawing) return made.finalize();
    view = made.view;
    view.addEventListener("click", (_, item) => item?.datum?.name && follow(item.datum.name));
  }
  byId("chart").dataset.drawn = String(turn);
  return undefined;
}

function caption(rows) {
  const without = shown().length - rows.length;
  const line = frontSteps(rows).length ? " The step line is the Pareto front: no SAE of as low an L0 scores better." : "";
  byId("caption").textContent =
    `${title(state.y)} against ${title(state.x)}: ${rows.length} of ${shown().length} SAEs.` +
    (without ? ` ${without} ${without === 1 ? "has" : "have"} no score here: the rows below say why.` : "") + line +
    " Bars: 95% intervals. ↑ higher is better, ↓ lower is better.";
  const one = state.y in FACTS ? null : column(state.y);
  const fails = one?.fails ? ` ⚠ It fails on the reliability card: ${one.fails}.` : "";
  byId("asks").textContent = one ? `${one.name}: ${one.definition || one.unit} (${one.unit}, version ${one.version})${fails}` : "";
}

function mark(name) {
  if (view) view.signal("active", name).runAsync();
}
