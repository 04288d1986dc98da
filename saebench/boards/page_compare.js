// Two SAEs side by side, with the differences that were found when the page was written.

const rivals = () => { const real = model().saes.filter((sae) => !sae.control); return real.length ? real : model().saes; };

function fillRivals() {
  for (const [id, place] of [["a", 0], ["b", 1]]) {
    byId(id).replaceChildren(...rivals().map((sae) => make("option", { value: sae.name }, sae.name)));
    state[id] = (rivals()[place] ?? rivals()[0])?.name ?? "";
    byId(id).value = state[id];
  }
  byId("compare").hidden = rivals().length < 2;
}

// The pair's place in the order in which all of them were written, and whether it has to be turned.
function pairOf(a, b) {
  const [i, j] = [Math.min(a, b), Math.max(a, b)];
  const n = rivals().length;
  return { at: i * n - (i * (i + 1)) / 2 + (j - i - 1), sign: a < b ? 1 : -1 };
}

function drawCompared() {
  const names = rivals().map((sae) => sae.name);
  const [a, b] = [names.indexOf(state.a), names.indexOf(state.b)];
  const rows = a < 0 || b < 0 || a === b ? [] : model().columns.flatMap((one, i) => comparedRow(one, i, a, b));
  byId("compared").tBodies[0].replaceChildren(...rows);
  byId("compared-status").textContent = a === b ? "Choose two different SAEs." : `${rows.length} scores are compared.`;
}

function comparedRow(one, i, a, b) {
  const found = model().pairs[i];
  if (!found) return [];
  const { at, sign } = pairOf(a, b);
  if (!found[at]) return [];
  const [value, half] = [sign * found[at][0], found[at][1]];
  const told = Math.abs(value) > half ? (value > 0 === (one.better === "higher") ? "B is better" : "A is better") : "the same within noise";
  const text = (number) => String(Number(number.toPrecision(3)));
  const cells = [rivals()[a].cells[i].text, rivals()[b].cells[i].text, `${value > 0 ? "+" : ""}${text(value)} [${text(value - half)}, ${text(value + half)}]`];
  const name = make("th", { scope: "row" }, `${one.family}: ${named(one)}`);
  return [make("tr", {}, name, ...cells.map((cell) => make("td", {}, cell)), make("td", { class: "text" }, told))];
}

// The address of a view: what is chosen, so that it can be sent to someone.

const KEPT = ["y", "x", "a", "b"];

function writeAddress() {
  const given = new URLSearchParams(KEPT.map((key) => [key, state[key]]));
  given.set("model", state.model);
  given.set("kinds", [...state.kinds].join(","));
  history.replaceState(null, "", `#${given}`);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (data.models[Number(given.get("model"))]) state.model = Number(given.get("model"));
  return given;
}

function takeAddress(given) {
  for (const key of KEPT) {
    const known = [...byId(key).options].map((option) => option.value);
    if (known.includes(given.get(key))) state[key] = byId(key).value = given.get(key);
  }
  if (!given.has("kinds")) return;
  const wanted = new Set(given.get("kinds").split(","));
  for (const box of document.querySelectorAll("#kinds input")) {
    box.checked = wanted.has(box.value);
    state.kinds[box.checked ? "add" : "delete"](box.value);
  }
}
