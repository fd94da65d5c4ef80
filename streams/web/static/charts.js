// The four charts, by uPlot: all of the same seconds, with one cursor.
/* global uPlot */

import { duration, element, number, setText, shortDuration, timeOfDay } from "/static/dom.js";

const SECONDS = 600;
const LEAST_SECONDS = 60;
const HEIGHT = 150;
/** Seconds without events over which a line goes on as it was. */
const BRIDGED = 5;
/** Times the median second that is shown of latencies. */
const CLIP = 4;
const TIME = 0, EVENTS = 1, P50 = 2, P99 = 3, STAGES = 4, NDCG = 5, POPULARITY = 6;

const rows = [];
const charts = [];
let colours = getComputedStyle(document.documentElement);
const colour = (name) => () => colours.getPropertyValue(`--${name}`).trim();

/** The latest second that is known, in s since the epoch. */
export const latest = () => rows.at(-1)?.[TIME] ?? 0;

/** Add seconds that ended after all that are known, and draw. */
export function add(seconds) {
  const fresh = seconds.filter((row) => row[TIME] > latest());
  if (!fresh.length) return;
  rows.push(...fresh);
  rows.splice(0, rows.length - SECONDS);
  for (const chart of charts) chart.draw();
}

/** Make the charts; `stages` names the middle columns of a row's stages. */
export function make(stages) {
  if (charts.length) return;
  const shades = stages.map((stage) => `stage-${stage}`);
  charts.push(
    new Chart("events", [["events", "accent", (row) => row[EVENTS]]], { format: number }),
    new Chart("latency", [
      ["p99", "second", (row) => row[P99]],
      ["p50", "accent", (row) => row[P50]],
    ], { format: duration, tick: shortDuration, clipped: true }),
    new Chart("stages", stages.map((stage, n) => [stage, shades[n], (row) => row[STAGES]?.[n] ?? null]),
      { format: duration, tick: shortDuration, stacked: true, clipped: true }),
    new Chart("quality", [
      ["Millrace", "accent", (row) => row[NDCG]],
      ["popularity", "second", (row) => row[POPULARITY]],
    ], { format: (value) => value.toFixed(4), tick: (value) => String(+value.toFixed(4)) }),
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours = getComputedStyle(document.documentElement);
    for (const chart of charts) chart.plot.redraw(false, true);
  });
}

/** The seconds that are drawn when the last is `end`. */
function span(end) {
  const first = rows[0]?.[TIME] ?? end;
  return [Math.max(first, end - SECONDS), Math.max(end, first + LEAST_SECONDS)];
}

function bridged(values) {
  let last = null;
  let age = 0;
  return values.map((value) => {
    age = value === null ? age + 1 : 0;
    if (value !== null) last = value;
    return age <= BRIDGED ? last : null;
  });
}

class Chart {
  /**
   * `lines`: name, colour and value in a row of each; stacked ones are areas that add up.
   * `format` is for captions, `tick` for the axis.
   */
  constructor(id, lines, { format, tick = format, stacked = false, clipped = false }) {
    const figure = document.getElementById(id);
    this.lines = lines;
    this.format = format;
    this.stacked = stacked;
    this.clipped = clipped;
    this.box = figure.querySelector(".plot");
    this.values = lines.map(([name, shade]) => this.entry(figure.querySelector(".figure"), name, shade));
    // Sums that lie below others are drawn over them.
    const series = lines.map(([, shade]) => ({
      stroke: colour(shade),
      fill: stacked ? colour(shade) : undefined,
      width: stacked ? 0 : 1.5,
      points: { show: false },
    }));
    const axis = { stroke: colour("soft"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: colour("line"), width: 1 };
    this.plot = new uPlot({
      width: this.box.clientWidth, height: HEIGHT, padding: [6, 8, 0, 0], ms: 1,
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false }, sync: { key: "seconds" }, points: { show: !stacked } },
      scales: { x: { range: (_, __, end) => span(end) }, y: { range: () => [0, this.top()] } },
      axes: [
        { ...axis, grid: { show: false }, space: 60, size: 26, gap: 2, incrs: [60, 120, 300],
          values: (_, times) => times.map((time) => timeOfDay(time * 1000).slice(0, 5)) },
        { ...axis, grid, size: 54, space: 34, values: (_, values) => values.map(tick) },
      ],
      series: [{}, ...(stacked ? series.reverse() : series)],
      hooks: { setCursor: [(plot) => this.tell(rows[plot.cursor.idx] ?? rows.at(-1))] },
    }, [[], ...lines.map(() => [])], this.box);
    this.plot.root.setAttribute("aria-hidden", "true");
    new ResizeObserver(() => this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT })).observe(this.box);
  }

  /** A line's part of the caption: its colour, name and value. */
  entry(caption, name, shade) {
    const value = element("b");
    const swatch = element("i", `swatch ${shade}`);
    caption.append(element("span", "entry", this.lines.length > 1 ? [swatch, `${name} `, value] : [value]));
    return value;
  }

  /** Where the axis ends: the few slowest seconds do not flatten all others. */
  top() {
    const columns = this.columns();
    const highest = Math.max(0, ...columns.flat().filter((value) => value !== null));
    const middle = columns[0].filter((value) => value !== null).sort((a, b) => a - b);
    const most = this.clipped ? CLIP * middle[middle.length >> 1] : Infinity;
    return 1.1 * Math.min(highest, most) || 1;
  }

  /** The lines' values, the highest line first. */
  columns() {
    const columns = this.lines.map(([, , value]) => bridged(rows.map(value)));
    if (!this.stacked) return columns;
    for (let n = 1; n < columns.length; n += 1) {
      columns[n] = columns[n].map((value, at) => (value === null ? null : value + columns[n - 1][at]));
    }
    return columns.reverse();
  }

  draw() {
    this.plot.setData([rows.map((row) => row[TIME]), ...this.columns()]);
    this.tell(rows[this.plot.cursor.idx] ?? rows.at(-1));
  }

  /** Show a second's values in the caption. */
  tell(row) {
    if (!row) return;
    this.lines.forEach(([, , value], n) => {
      const found = value(row);
      setText(this.values[n], found === null ? "–" : this.format(found));
    });
  }
}
