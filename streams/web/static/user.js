// The chosen user: what they took, what is recommended, and what happens when an item is chosen.

import { byId, element, moment, setText } from "/static/dom.js";
import { Why } from "/static/why.js";
import { json, Refused } from "/static/worker.js";

const SHOWN_TAKEN = 10;
const PATIENCE_MS = 5000;
const DAY_MS = 86_400_000;

let user = ""; // whose list is shown
let wanted = "";
let places = [];
let ranked = [];
let taken = [];
let sent = null;
let streamMs = 0;
let changes = 0;

/** The latest timestamp of the stream: of a replay, long ago. */
export function streamIsAt(ms) {
  streamMs = ms;
}

/** Show a user's interactions and recommendations as they are now, all at once. */
export async function show(name) {
  wanted = name;
  const before = changes;
  const path = `/users/${encodeURIComponent(name)}`;
  try {
    const [interactions, recommendations] = await Promise.all([json(path), json(`${path}/recommendations?k=10`)]);
    if (wanted !== name) return;
    if (changes !== before) {
      await show(name);
      return;
    }
    if (user !== name) {
      user = name;
      sent = null;
      note(recommendations.known ? "" : "Not known yet: this is what is trending.");
    }
    setText(byId("heading"), `Recommended for user ${name}`);
    taken = interactions.interactions;
    drawTaken();
    draw(recommendations.items, false);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof TypeError)) throw error;
    if (wanted === name) note(`Nothing of user ${name}: ${error.message}`);
  }
}

/** The user's list has changed: `answer` is their event, with the new list. */
export function changed(answer) {
  changes += 1;
  if (user !== wanted) return; // it is asked for again
  if (answer.kind === "forget") {
    taken = [];
  } else {
    taken = [answer, ...taken].sort((a, b) => b.timestamp - a.timestamp);
  }
  drawTaken();
  draw(answer.items, true);
  if (sent?.id === answer.event_id) {
    const { at } = sent;
    sent = null;
    // What a frame has drawn is on the screen when the next task runs.
    requestAnimationFrame(() => setTimeout(() => {
      const ms = performance.now() - at;
      byId("list-note").dataset.ms = ms.toFixed(1);
      note(`New list ${ms.toFixed(0)} ms after you chose “${answer.title}”.`);
    }));
  } else if (sent === null) {
    note(answer.title ? `New list after “${answer.title}”.` : "New list.");
  }
}

function note(text) {
  setText(byId("list-note"), text);
}

function draw(items, mark) {
  const before = new Map(ranked.map((entry, place) => [entry.item, place]));
  ranked = items;
  const list = byId("list");
  while (places.length < items.length) {
    places.push(new Place(places.length));
    list.append(places.at(-1).row);
  }
  // Rows stay where they are, and so does the focus.
  places.forEach((place, n) => place.show(items[n], mark ? before.get(items[n]?.item) ?? null : n));
  byId("list-empty").hidden = items.length > 0;
  setText(byId("list-empty"), "Nothing to recommend: the worker knows no items that they have not taken.");
}

/** A row of the list. */
class Place {
  constructor(number) {
    this.number = number;
    this.title = element("span", "title");
    this.reason = element("span", "reason");
    this.change = element("span", "change");
    this.score = element("span", "score");
    this.button = element("button", "item", [
      element("span", "rank", String(number + 1)),
      element("span", "words", [this.title, this.reason]), this.change, this.score,
    ]);
    this.button.type = "button";
    this.button.addEventListener("click", () => send(ranked[number]));
    this.why = new Why(number);
    this.row = element("li", "", [this.button, this.why.button, this.why.panel]);
  }

  /** `before` is the item's place in the list before, null for one that was not in it. */
  show(entry, before) {
    this.row.hidden = !entry;
    if (!entry) return;
    this.why.is(user, entry);
    setText(this.title, entry.title);
    setText(this.reason, entry.reason);
    setText(this.score, entry.score.toFixed(2));
    this.score.title = "Score (a logit)";
    const moved = before === null ? "new" : before > this.number ? "up" : before < this.number ? "down" : "";
    const steps = Math.abs(before - this.number);
    setText(this.change, moved === "new" ? "new" : moved ? `${moved === "up" ? "▲" : "▼"} ${steps}` : "");
    this.row.dataset.moved = moved;
    // Begin the highlight anew, though the row is the same.
    this.row.getAnimations({ subtree: true }).forEach((animation) => animation.cancel());
    this.button.classList.remove("fresh");
    if (moved === "new") {
      void this.button.offsetWidth;
      this.button.classList.add("fresh");
    }
  }
}

function drawTaken() {
  byId("taken").replaceChildren(...taken.slice(0, SHOWN_TAKEN).map((entry) => {
    const what = entry.kind ? [entry.kind === "rating" ? `rated ${entry.value}` : entry.kind] : [];
    return element("li", "", [
      element("span", "title", entry.title || entry.item || ""),
      element("span", "when", [...what, moment(entry.timestamp)].join(" · ")),
    ]);
  }));
  byId("taken-empty").hidden = taken.length > 0;
}

/** Send an event of the chosen kind on an item, and wait for the list that it leads to. */
async function send(entry) {
  const started = performance.now();
  const kind = document.querySelector("input[name=kind]:checked").value;
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  // Events of a replay are of its own time; one of today would come before all that follow it.
  const now = Date.now();
  const timestamp = streamMs && now - streamMs > DAY_MS ? streamMs + 1 : now;
  const event = { event_id: `page-${id}`, user, item: entry.item, timestamp, kind };
  if (kind === "rating") event.value = Number(byId("value").value);
  const waiting = { id: event.event_id, at: started };
  sent = waiting;
  note(`Sent a ${kind} on “${entry.title}” …`);
  try {
    await json("/interactions", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(event),
    });
  } catch (error) {
    if (!(error instanceof Refused || error instanceof TypeError)) throw error;
    if (sent === waiting) sent = null;
    note(`Not taken: ${error.message}`);
    return;
  }
  setTimeout(() => {
    if (sent !== waiting) return;
    sent = null;
    note("Kafka has the event; its answer has not come yet.");
  }, PATIENCE_MS);
}
