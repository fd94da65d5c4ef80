// The live page: one stream of events from the worker, and what it shows of them.

import * as charts from "/static/charts.js";
import { byId, duration, element, number, setText, timeOfDay } from "/static/dom.js";
import * as user from "/static/user.js";
import { follow, json, Refused } from "/static/worker.js";

const CHIPS = 6;
const CHIPS_MS = 3000;
const WORKERS_MS = 5000;

let chosen = new URLSearchParams(location.search).get("user") ?? "";
let stream = new AbortController();
let chipsAt = -Infinity;

function connect() {
  stream.abort();
  stream = new AbortController();
  const path = () => {
    const query = new URLSearchParams({ since: charts.latest() });
    if (chosen) query.set("user", chosen);
    return `/live?${query}`;
  };
  follow(path, { open, lost, history, figures, answer: user.changed }, stream.signal);
}

function choose(name) {
  chosen = name;
  byId("user").value = name;
  window.history.replaceState(null, "", `?${new URLSearchParams({ user: name })}`);
  for (const chip of byId("active").children) chip.setAttribute("aria-pressed", String(chip.textContent === name));
  connect();
}

// ------------------------------------------------------------------ what the worker tells

let toShow = false;

/** From here on every change is told: what is so now is asked for as soon as the worker is ready. */
function open() {
  toShow = true;
}

function lost() {
  state("lost", "the worker does not answer");
}

function state(kind, text) {
  byId("state").dataset.state = kind;
  setText(byId("state"), text);
}

function history({ worker, model, since_ms, stages, seconds }) {
  shown = worker;
  setText(byId("about"), `${model.name} ${model.version} · ${worker} since ${timeOfDay(since_ms)}`);
  charts.make(stages.slice(1, -1));
  charts.add(seconds);
}

function figures(now) {
  state(now.ready ? "waiting" : "live", now.ready || "live");
  user.streamIsAt(now.stream_ms);
  if (now.second) charts.add([now.second]);
  const followed = now.followed ? ` · ${number(now.followed)} told of by other workers` : "";
  setText(byId("counts"), `${number(now.recommendations)} answers · ${number(now.duplicates)} duplicates · ` +
    `${number(now.late)} late${followed} · NDCG over ${number(now.queries)} queries`);
  stages(now.stages);
  table(byId("lag-table"), Object.entries(now.lag).map(([partition, waiting]) => [partition, number(waiting)]));
  byId("lag-empty").hidden = Object.keys(now.lag).length > 0;
  byId("lag-table").hidden = !byId("lag-empty").hidden;
  dead(now.dead, now.dead_last);
  active(now.active);
  experiments(now.experiments);
  void workers();
  if (toShow && chosen && !now.ready) {
    toShow = false;
    user.show(chosen);
  }
}

function stages(found) {
  table(byId("stage-table"), Object.entries(found).map(([stage, [p50, p99]]) =>
    [stage, duration(p50), duration(p99)]), (stage) => `swatch stage-${stage}`);
}

/** A mean with half of its interval, as the worker tells both. */
function estimate(told, digits) {
  if (!told) return "–";
  const [mean, half] = told;
  return mean.toFixed(digits) + (half === null ? "" : ` ± ${half.toFixed(digits)}`);
}

function experiments(arms) {
  byId("experiments").hidden = !arms.length;
  table(byId("experiment-table"), arms.map((each) => [
    `${each.experiment}: ${each.arm}`, number(each.users), number(each.queries),
    estimate(each.hit_rate, 3), estimate(each.difference, 3), estimate(each.ndcg, 4),
  ]));
}

/** Write rows into a table's body, into the cells that are there. */
function table(node, values, swatch) {
  const body = node.tBodies[0];
  while (body.rows.length > values.length) body.deleteRow(-1);
  values.forEach((cells, n) => {
    let row = body.rows[n];
    if (!row || row.dataset.name !== cells[0]) {
      row?.remove();
      row = element("tr", "", cells.map((_, place) => element(place ? "td" : "th")));
      row.dataset.name = cells[0];
      row.cells[0].scope = "row";
      row.cells[0].append(...(swatch ? [element("i", swatch(cells[0]))] : []), cells[0]);
      body.insertBefore(row, body.rows[n] ?? null);
    }
    cells.slice(1).forEach((text, place) => setText(row.cells[place + 1], text));
  });
}

let shown = ""; // the address of the worker whose figures these are
let workersAt = -Infinity;

/** Who has which partition, where there are several workers; how far users are forgotten. */
async function workers() {
  if (performance.now() - workersAt < WORKERS_MS) return;
  workersAt = performance.now();
  try {
    const found = (await json("/workers")).workers;
    byId("worker-table").hidden = found.length < 2;
    table(byId("worker-table"), found.map(({ address, partitions }) => [
      (address || "without a web server") + (address && address === shown ? " (shown)" : ""),
      partitions.join(", ") || "none",
    ]));
    forgotten(await json("/forgetting"));
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Refused)) throw error;
  }
}

function forgotten({ users, exact, digest, pending }) {
  const done = exact ? `${number(users)} users who asked before offset ${number(exact)} are forgotten exactly; ` +
    `the state rebuilt without them has digest ${digest.slice(0, 12)}.` : "";
  const due = pending ? "A user asked to be forgotten: the state is being rebuilt." : "";
  byId("forgotten").hidden = !(done || due);
  setText(byId("forgotten"), [done, due].filter(Boolean).join(" "));
}

let deadShown = "";

function dead(counts, last) {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  setText(byId("dead-count"), total ? number(total) : "");
  const shown = JSON.stringify(last);
  if (shown === deadShown) return;
  deadShown = shown;
  byId("dead-empty").hidden = last.length > 0;
  byId("dead").replaceChildren(...last.map((letter) => element("li", "", [
    element("span", "class", letter.error_class),
    element("span", "message", letter.message),
    element("span", "when", `${letter.topic} · partition ${letter.partition} · offset ${letter.offset} · ${timeOfDay(letter.time * 1000)}`),
  ])));
}

function active(users) {
  if (!chosen && users.length) choose(users[0]);
  // Nothing moves under the pointer or the focus, and not more often than one can read.
  const group = byId("active");
  if (performance.now() - chipsAt < CHIPS_MS || group.matches(":hover, :focus-within")) return;
  chipsAt = performance.now();
  byId("active-hint").hidden = !users.length;
  byId("users").replaceChildren(...users.map((name) => Object.assign(element("option"), { value: name })));
  group.replaceChildren(...users.slice(0, CHIPS).map((name) => {
    const chip = element("button", "chip", name);
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(name === chosen));
    chip.addEventListener("click", () => choose(name));
    return chip;
  }));
}

// ------------------------------------------------------------------ what people do

byId("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(byId("user").value);
});
byId("value").addEventListener("change", () => {
  document.querySelector("input[name=kind][value=rating]").checked = true;
});

if (chosen) choose(chosen);
else connect();
