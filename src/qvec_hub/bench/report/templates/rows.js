// The rows behind a number, in a dialog: counts, and all that they depend on.

const CHUNK = 100; // drawn at once
const dialog = document.getElementById("rows");
const more = document.getElementById("more");
let waiting = [];

const when = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ");
const short = (revision) => (revision === null ? "" : ` @ ${revision.slice(0, 12)}`);
const counted = (row) => `${rows.correct[row]} of ${rows.n[row]}`;

function donorsOf(row) {
  const donors = rows.donors[row] < 0 ? [] : data.donor_sets[rows.donors[row]];
  const texts = donors.map(([repo, revision, weight]) =>
    (weight === 1 ? "" : `${Number(weight.toPrecision(3))} × `) + word(repo) + short(word(revision)));
  if (texts.length < 2) return texts[0] ?? "–";
  const items = texts.map((text) => element("li", {}, text));
  return element("details", {}, element("summary", {}, `${word(rows.merge[row])} of ${texts.length}`), element("ul", {}, ...items));
}

function madeBy(row) {
  const versions = data.versions[rows.versions[row]].map(([name, version]) => `${word(name)} ${word(version)}`);
  const about = [...versions, word(rows.device[row]), `images by ${word(rows.image_backend[row])}`];
  const suite = `${word(rows.suite[row])} ${word(rows.suite_version[row])}`;
  return element("details", {}, element("summary", {}, suite), about.join(", "));
}

const DETAILS = [
  ["Receiver", ({ row }) => word(rows.receiver[row]) + short(word(rows.receiver_revision[row]))],
  ["Images", ({ row }) => `${word(rows.dataset[row])}${short(word(rows.dataset_revision[row]))}, ${word(rows.split[row])}`],
  ["Donors", ({ row }) => donorsOf(row)],
  ["Right", ({ row }) => counted(row)],
  ["RTN right", ({ rtn }) => counted(rtn)],
  ["Gain", ({ gain }) => signed(gain)],
  ["Scale", ({ row }) => (rows.scale[row] === null ? "–" : `${rows.scale[row]}${rows.policy[row] < 0 ? "" : ` (${word(rows.policy[row])})`}`)],
  ["Seed", ({ row }) => String(rows.seed[row])],
  ["Counted (UTC)", ({ row }) => when(rows.created[row])],
  ["Suite and versions", ({ row }) => madeBy(row)],
];
const NUMBERS = new Set(["Right", "RTN right", "Gain", "Scale", "Seed", "Counted (UTC)"]);

function drawMore() {
  const drawn = waiting.splice(0, CHUNK).map((pair) =>
    element("tr", { role: "row" }, ...DETAILS.map(([label, show]) =>
      element("td", { role: "cell", "data-label": label, class: NUMBERS.has(label) ? "number" : "" }, show(pair)))));
  document.querySelector("#rows-list tbody").append(...drawn);
  more.hidden = !waiting.length;
  more.textContent = `Show more (${waiting.length} left)`;
}

function openRows(measured, key) {
  const column = COLUMNS.find((each) => each.key === key);
  const { base, grid, method } = measured;
  waiting = [...measured.pairs].sort((a, b) => column.order(a) - column.order(b));
  document.getElementById("rows-title").textContent = `${method}, ${base}, ${grid}`;
  document.getElementById("rows-note").textContent =
    `${column.label}: ${measured[key] === null ? "–" : column.show(measured[key])}. ${waiting.length} rows` +
    (key === "worst" ? ", the worst first." : ".");
  const heads = DETAILS.map(([label]) => element("th", { scope: "col", role: "columnheader" }, label));
  const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads));
  const table = element("table", { role: "table" }, head, element("tbody", { role: "rowgroup" }));
  document.getElementById("rows-list").replaceChildren(table);
  drawMore();
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function closeRows() {
  if (dialog.open) dialog.close();
}

dialog.addEventListener("close", () => {
  state.open = "";
  writeState();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) closeRows(); // beside it, on the backdrop
});
document.getElementById("close").addEventListener("click", closeRows);
more.addEventListener("click", drawMore);
