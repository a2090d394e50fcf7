// The table, its filters and its order. Their state is the address after the #, so a view can be linked to.
// Text of rows is set as text only, never as markup: names in rows are untrusted.

const START = { view: "methods", base: "", grid: "", task: "", kind: "", controls: "", extras: "", sort: "accuracy", dir: "desc", open: "" };
const FILTERS = ["base", "grid", "task", "kind"];
// Lines that are no methods to choose from, by the switch that shows them.
const ASIDE = { controls: (line) => line.kind === "control", extras: (line) => line.extra };
const form = document.getElementById("filters");
let state = { ...START };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function readState() {
  const asked = new URLSearchParams(location.hash.slice(1));
  state = { ...START };
  for (const name of Object.keys(START)) if (asked.has(name)) state[name] = asked.get(name);
  if (!COLUMNS.some((column) => column.key === state.sort)) state.sort = START.sort;
  if (state.dir !== "asc") state.dir = "desc";
  if (state.view !== "donors") state.view = "methods";
  for (const name of Object.keys(ASIDE)) if (state[name] !== "show") state[name] = "";
}

function writeState() {
  const told = Object.entries(state).filter(([name, value]) => value !== START[name]);
  const hash = new URLSearchParams(told).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

const inView = (line) => line.donor === (state.view === "donors");
const isForced = (name) => name === "controls" && state.kind === "control"; // who filters for them wants to see them
const isHidden = (line) => Object.entries(ASIDE).some(([name, is]) => is(line) && !state[name] && !isForced(name));
const fits = (line) => ["base", "grid", "kind"].every((name) => !state[name] || line[name] === state[name]);

function compare(a, b) {
  const column = COLUMNS.find((each) => each.key === state.sort);
  const [x, y] = [a, b].map((each) => each[state.sort]);
  if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last, always
  const key = column.sort ?? ((value) => value);
  const order = typeof key(x) === "string" ? key(x).localeCompare(key(y), "en", { numeric: true }) : key(x) - key(y);
  return state.dir === "asc" ? order : -order;
}

function drawHeads() {
  const heads = COLUMNS.map(({ key, label, show }) => {
    const sorted = state.sort === key ? (state.dir === "asc" ? "ascending" : "descending") : "none";
    const button = element("button", { type: "button", "data-sort": key }, label);
    button.addEventListener("click", () => {
      const turned = state.dir === "asc" ? "desc" : "asc";
      state.dir = state.sort === key ? turned : show ? "desc" : "asc";
      state.sort = key;
      update();
      document.querySelector(`[data-sort="${key}"]`).focus();
    });
    const attributes = { scope: "col", role: "columnheader", "aria-sort": sorted, class: show ? "" : "text" };
    return element("th", attributes, button);
  });
  document.getElementById("heads").replaceChildren(...heads);
}

function drawCell(measured, { key, label, show }) {
  const value = measured[key];
  const about = { role: "cell", "data-label": label, "data-key": key };
  if (!show) return element("td", { ...about, class: `text ${key}${key === "needs" && value !== "none" ? " some" : ""}` }, value);
  if (value === null) return element("td", { ...about, class: "none" }, "–");
  const id = `${data.lines.indexOf(measured.line)}.${key}`;
  const text = show(value);
  const button = element("button", { type: "button", "data-open": id, "aria-label": `${label}: ${text}, show its rows` }, text);
  button.addEventListener("click", () => {
    state.open = id;
    writeState();
    openRows(measured, key);
  });
  const signs = key === "gain" && measured.interval;
  const tone = signs && value > 0 && measured.interval[0] > 0 ? "good" : signs && measured.interval[1] < 0 ? "bad" : "";
  return element("td", { ...about, class: tone }, button);
}

function drawLines(shown) {
  const lines = shown.map((measured) =>
    element("tr", { role: "row" }, ...COLUMNS.map((column) => drawCell(measured, column))));
  const nothing = element("td", { colspan: COLUMNS.length, class: "empty", role: "cell" }, "Nothing was measured that fits these filters.");
  document.getElementById("lines").replaceChildren(...(lines.length ? lines : [element("tr", { role: "row" }, nothing)]));
}

function fill(name, values) {
  const options = [...new Set(values)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (state[name] && !options.includes(state[name])) options.push(state[name]); // a linked view stays what it was
  const all = new Option("all", "");
  form.elements[name].replaceChildren(all, ...options.map((text) => new Option(text, text)));
  form.elements[name].value = state[name];
}

function drawFilters() {
  const lines = data.lines.filter(inView);
  for (const name of ["base", "grid", "kind"]) fill(name, lines.map((line) => line[name]));
  fill("task", data.tasks.map(word));
  form.elements.sort.replaceChildren(...COLUMNS.map(({ key, label }) => new Option(label, key)));
  for (const name of ["view", "sort", "dir"]) form.elements[name].value = state[name];
  for (const [name, is] of Object.entries(ASIDE)) {
    form.elements[name].checked = state[name] === "show" || isForced(name);
    form.elements[name].disabled = isForced(name) || !lines.some(is);
  }
}

function measuredLines() {
  const lines = data.lines.filter((line) => inView(line) && fits(line) && !isHidden(line));
  return lines.map((line) => measure(line, state.task)).filter((measured) => measured.n);
}

function update() {
  writeState();
  drawFilters();
  drawHeads();
  const shown = measuredLines().sort(compare);
  drawLines(shown);
  const lines = data.lines.filter(inView);
  const hidden = lines.filter((line) => fits(line) && isHidden(line)).length;
  document.getElementById("status").textContent =
    `${shown.length} of ${lines.length} lines, ${rows.n.length} rows in all.` +
    (hidden ? ` Not shown: ${hidden} of controls, ceilings and other scales.` : "") +
    (state.task ? " On one task there is no interval over receivers." : "");
}

/** Open what the address names; the dialog of another line is closed. */
function openLinked() {
  const [index, key] = state.open.split(".");
  const line = data.lines[index];
  if (line && COLUMNS.some((column) => column.key === key && column.show)) openRows(measure(line, state.task), key);
  else closeRows();
}

form.addEventListener("change", () => {
  for (const name of [...FILTERS, "view", "sort", "dir"]) state[name] = form.elements[name].value;
  for (const name of Object.keys(ASIDE)) {
    if (!form.elements[name].disabled) state[name] = form.elements[name].checked ? "show" : "";
  }
  if (state.view === "donors") state.kind = "";
  update();
});
form.addEventListener("reset", (event) => {
  event.preventDefault();
  state = { ...START };
  update();
});
window.addEventListener("hashchange", () => {
  readState();
  update();
  openLinked();
});

readState();
update();
openLinked();
