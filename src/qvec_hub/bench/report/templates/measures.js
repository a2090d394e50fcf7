"use strict";
// What the numbers of a line are made of: pairs of a treated row and the plainly rounded one beside it.

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const word = (index) => (index < 0 ? null : data.words[index]);

for (const line of data.lines) {
  for (const name of ["base", "grid", "kind", "method", "needs"]) line[name] = word(line[name]);
}

/** The pairs of a line on one receiver's task, or on all of them. */
function pairsOf(line, task) {
  const pairs = [];
  line.rows.forEach((row, i) => {
    if (task && word(rows.task[row]) !== task) return;
    const rtn = line.rtn[i];
    const n = rows.n[row];
    const accuracy = rows.correct[row] / n;
    const gain = (rows.correct[row] - rows.correct[rtn]) / n;
    const ceiling = line.own[i] < 0 ? null : (line.own[i] - rows.correct[rtn]) / n;
    pairs.push({ row, rtn, accuracy, gain, ceiling });
  });
  return pairs;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => (values.length ? sum(values) / values.length : null);

function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** All numbers of a line. The interval is computed over receivers (and donors), so one task has none. */
function measure(line, task) {
  const pairs = pairsOf(line, task);
  const gains = line.plain ? [] : pairs.map((pair) => pair.gain);
  const clear = line.plain ? [] : pairs.filter((pair) => pair.ceiling !== null && pair.ceiling >= data.least_ceiling);
  return {
    line,
    pairs,
    base: line.base,
    grid: line.grid,
    method: line.method,
    needs: line.needs,
    accuracy: mean(pairs.map((pair) => pair.accuracy)),
    gain: mean(gains),
    interval: task ? null : line.interval,
    median: median(gains),
    wins: mean(gains.map((gain) => Number(gain > 0))),
    recovery: clear.length ? sum(clear.map((pair) => pair.gain)) / sum(clear.map((pair) => pair.ceiling)) : null,
    worst: gains.length ? Math.min(...gains) : null,
    n: pairs.length,
  };
}

const signed = (value) => {
  const text = (100 * value).toFixed(1);
  return text === "-0.0" || text === "0.0" ? "0.0" : value > 0 ? `+${text}` : text.replace("-", "\u2212");
};
const percent = (value) => (100 * value).toFixed(1);

/** The columns of the table: how a value is shown, by what it is sorted, which of the pairs its rows are. */
const COLUMNS = [
  { key: "base", label: "Base" },
  { key: "grid", label: "Grid" },
  { key: "method", label: "Method" },
  { key: "needs", label: "Receiver data" },
  { key: "accuracy", label: "Accuracy, %", show: percent, order: (pair) => -pair.accuracy },
  { key: "gain", label: "Gain, points", show: signed, order: (pair) => -pair.gain },
  { key: "interval", label: "95 % interval", show: ([low, high]) => `${signed(low)} … ${signed(high)}`,
    sort: (value) => value[0], order: (pair) => -pair.gain },
  { key: "median", label: "Median gain", show: signed, order: (pair) => -pair.gain },
  { key: "wins", label: "Win rate, %", show: percent, order: (pair) => -pair.gain },
  { key: "recovery", label: "Recovery, %", show: percent, order: (pair) => -pair.gain },
  { key: "worst", label: "Worst", show: signed, order: (pair) => pair.gain },
  { key: "n", label: "Rows", show: String, order: (pair) => pair.row },
];
