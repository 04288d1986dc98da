// State, form and table of the page. It comes last, after what page_chart.js and page_details.js define.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const ARROWS = { higher: " ↑", lower: " ↓", neither: "" };
const BESIDE = "beside it";
const FACTS = { l0: "L0", fvu: "FVU", width: "width" };
const PLACE = { width: 1, l0: 2, fvu: 3 };
const EMBED = { actions: false, ast: true, renderer: "svg", config: data.config };
const state = { model: 0, x: "l0", y: "", a: "", b: "", kinds: new Set(), sort: "name", descending: false };
const details = new Map();
let view = null;
let drawing = 0;

// Whatever a name holds, it gets into the page as text.
function make(tag, attributes = {}, ...children) {
  const svg = tag === "svg" || tag === "path";
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const model = () => data.models[state.model];
const column = (key) => model().columns[Number(key)];
const title = (key) => FACTS[key] ?? named(column(key));
const named = (one) => one.name + ARROWS[one.better] + (one.fails ? " ⚠" : "");
const shown = () => model().saes.filter((sae) => state.kinds.has(sae.kind));

function cell(sae, key) {
  if (!(key in FACTS)) return sae.cells[Number(key)];
  const value = sae.axes[key];
  return value === null ? { why: "not known" } : { value, text: sae.facts[PLACE[key]] };
}

// Form

function fillAxes() {
  for (const id of ["y", "x"]) {
    const groups = new Map([["", Object.entries(FACTS)]]);
    model().columns.forEach((one, i) => {
      if (one.better === "neither") return;
      if (!groups.has(one.group)) groups.set(one.group, []);
      groups.get(one.group).push([String(i), named(one)]);
    });
    byId(id).replaceChildren(...[...groups].map(([label, options]) => {
      const made = options.map(([value, text]) => make("option", { value }, text));
      return make("optgroup", { label: label || "the SAE itself" }, ...made);
    }));
  }
  const ranked = [...model().columns.keys()].filter((i) => model().columns[i].better !== "neither");
  const most = Math.max(...ranked.map(scoredAt));
  state.x = "l0";
  state.y = ranked.length ? String(ranked.find((i) => scoredAt(i) === most)) : "fvu";
  byId("x").value = state.x;
  byId("y").value = state.y;
}

const scoredAt = (i) => model().saes.filter((sae) => !sae.control && "value" in sae.cells[i]).length;

function swatch(kind) {
  const { colour, shape } = data.looks[kind];
  const fill = kind === "control" ? "#ffffff" : colour;
  const path = make("path", { d: shape, fill, stroke: colour, "stroke-width": ".25" });
  return make("svg", { class: "swatch", viewBox: "-1.2 -1.2 2.4 2.4", "aria-hidden": "true" }, path);
}

function fillKinds() {
  const kinds = Object.keys(data.looks);
  for (const kind of kinds) {
    // Controls are far away, and would take the room of the SAEs.
    const checked = kind !== "control" || kinds.length === 1;
    const box = make("input", { type: "checkbox", value: kind });
    box.checked = checked;
    if (checked) state.kinds.add(kind);
    box.addEventListener("change", () => {
      if (box.checked) state.kinds.add(kind);
      else state.kinds.delete(kind);
      refresh();
    });
    byId("kinds").append(make("label", {}, box, swatch(kind), kind === "control" ? "controls" : kind));
  }
}

// Table

const columns = () => {
  const scores = [...new Set([state.y, state.x])].filter((key) => !(key in FACTS));
  const facts = [["architecture", "architecture"], ["width", "width"], ["l0", "L0"], ["fvu", "FVU"]];
  return [["name", "SAE"], ...scores.map((key) => [key, title(key)]), ...facts];
};

function drawHead() {
  const heads = columns().map(([key, text]) => {
    const button = make("button", { type: "button" }, text);
    const head = make("th", { scope: "col", "data-key": key }, button);
    button.addEventListener("click", () => {
      state.descending = state.sort === key && !state.descending;
      state.sort = key;
      drawBody();
    });
    return head;
  });
  byId("table").tHead.replaceChildren(make("tr", {}, ...heads));
}

function sorted() {
  const rows = [...shown()];
  if (state.sort === "name") return state.descending ? rows.reverse() : rows;
  const value = (sae) => (state.sort === "architecture" ? sae.facts[0] : cell(sae, state.sort).value);
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (state.descending ? -1 : 1);
  return rows.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    return a === undefined || b === undefined ? (a === undefined) - (b === undefined) : order(a, b);
  });
}

function drawBody() {
  if (!columns().some(([key]) => key === state.sort)) state.sort = "name";
  for (const head of byId("table").tHead.rows[0].cells) {
    if (head.dataset.key !== state.sort) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
  }
  byId("table").tBodies[0].replaceChildren(...sorted().flatMap(row));
  byId("status").textContent = `${shown().length} of ${model().saes.length} SAEs are listed.`;
}

function row(sae) {
  const id = `details-${model().saes.indexOf(sae)}`;
  const button = make("button", { type: "button", class: "name", "aria-expanded": "false", "aria-controls": id }, sae.name);
  const cells = columns().slice(1).map(([key]) => {
    if (key === "architecture") return make("td", { class: "text" }, sae.facts[0] + (sae.control ? ", control" : ""));
    const one = cell(sae, key);
    return "value" in one ? scoreCell(one) : make("td", {}, "—");
  });
  const line = make("tr", {}, make("th", { scope: "row" }, button), ...cells);
  const below = make("tr", { class: "details", id }, make("td", { colspan: columns().length }));
  below.hidden = true;
  const toggle = (open) => {
    below.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open && !details.has(sae)) details.set(sae, { box: describe(sae) });
    if (open) below.cells[0].replaceChildren(details.get(sae).box);
    if (details.has(sae)) details.get(sae).open = open;
  };
  button.addEventListener("click", () => toggle(below.hidden));
  for (const [event, name] of [["mouseenter", sae.name], ["focusin", sae.name], ["mouseleave", ""], ["focusout", ""]]) {
    line.addEventListener(event, () => mark(name));
  }
  if (details.get(sae)?.open) toggle(true);
  return [line, below];
}

function scoreCell(one) {
  const text = one.rank ? `${one.text} (${one.rank})` : one.text;
  return make("td", {}, one.rank === 1 ? make("b", {}, text) : text);
}

function follow(name) {
  const button = [...document.querySelectorAll("#table button.name")].find((one) => one.textContent === name);
  if (!button) return;
  if (button.getAttribute("aria-expanded") === "false") button.click();
  button.focus();
  button.scrollIntoView({ block: "center" });
}

// All together

function refresh() {
  drawFirst();
  drawCompared();
  writeAddress();
  drawHead();
  drawBody();
  return drawChart();
}

function start() {
  byId("model").append(...data.models.map((one, i) => make("option", { value: i }, one.name)));
  byId("model-choice").hidden = data.models.length < 2;
  byId("model").addEventListener("change", () => {
    state.model = Number(byId("model").value);
    fillAxes();
    fillRivals();
    refresh();
  });
  for (const id of KEPT) byId(id).addEventListener("change", () => { state[id] = byId(id).value; refresh(); });
  byId("choice").addEventListener("submit", (event) => event.preventDefault());
  for (const [family, question] of Object.entries(data.questions)) {
    byId("asked").append(make("dt", {}, make("b", {}, family)), make("dd", {}, question || "No question is written down for this family."));
  }
  if (!data.models.length) {
    byId("status").textContent = "There are no scores.";
    return;
  }
  const given = readAddress();
  byId("model").value = state.model;
  fillKinds();
  fillAxes();
  fillRivals();
  takeAddress(given);
  refresh();
}

start();
