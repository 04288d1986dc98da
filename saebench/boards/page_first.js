// The first table: the SAEs that are no controls, with a column per question.

const UNMEASURED = "not measured";

function drawFirst() {
  const places = model().first;
  byId("first-box").hidden = !places.length;
  if (!places.length) return;
  const heads = ["SAE", "L0", ...places.map((i) => { const one = column(i); return `${one.family}: ${named(one)}`; })];
  byId("first").tHead.replaceChildren(make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text))));
  byId("first").tBodies[0].replaceChildren(...rivals().map((sae) => firstRow(sae, places)));
  byId("first-why").replaceChildren(...model().reasons.map(({ why, count }) => make("li", {}, `${count}: ${why}`)));
  byId("first-reasons").hidden = !model().reasons.length;
}

function firstRow(sae, places) {
  const button = make("button", { type: "button", class: "name" }, sae.name);
  button.addEventListener("click", () => show(sae));
  const cells = places.map((i) => {
    const one = sae.cells[i];
    return "value" in one ? scoreCell(one) : make("td", { class: "none", title: one.why }, one.why === UNMEASURED ? UNMEASURED : "not evaluable");
  });
  return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, sae.facts[PLACE.l0]), ...cells);
}

// Opens the row of an SAE in the table of all, which may not show its kind.
function show(sae) {
  const box = [...document.querySelectorAll("#kinds input")].find((one) => one.value === sae.kind);
  if (box && !box.checked) box.click();
  follow(sae.name);
}
