// Why an item is in the list: the user's own items that it goes with, and what each feature adds.

import { element, setText } from "/static/dom.js";
import { json, Refused } from "/static/worker.js";

const MOST_FEATURES = 6;

/** The button of a row of the list, and what it opens below the item. */
export class Why {
  constructor(number) {
    this.user = "";
    this.entry = null;
    this.panel = element("div", "reasons");
    this.panel.id = `why-${number}`;
    this.panel.hidden = true;
    this.button = element("button", "why", "Why?");
    this.button.type = "button";
    this.button.setAttribute("aria-expanded", "false");
    this.button.setAttribute("aria-controls", this.panel.id);
    this.button.addEventListener("click", () => (this.panel.hidden ? this.open() : this.close()));
  }

  /** The row shows this item of this user's list now. */
  is(user, entry) {
    const same = this.user === user && this.entry?.item === entry.item;
    this.user = user;
    this.entry = entry;
    this.button.setAttribute("aria-label", `Why ${entry.title}?`);
    if (this.panel.hidden) return;
    if (same) void this.open();
    else this.close();
  }

  close() {
    this.panel.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  async open() {
    const { user, entry } = this;
    let told;
    try {
      const list = await json(`/users/${encodeURIComponent(user)}/recommendations?k=10&explain=true`);
      const item = list.items.find((each) => each.item === entry.item);
      told = item ? reasons(item) : [element("p", "hint", "The list has changed meanwhile.")];
    } catch (error) {
      if (!(error instanceof Refused || error instanceof TypeError)) throw error;
      told = [element("p", "hint", `Not known: ${error.message}`)];
    }
    if (this.entry !== entry) return;
    this.panel.replaceChildren(...told);
    this.panel.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
  }
}

function reasons({ goes_with: own = [], features, score }) {
  return [...(own.length ? [element("ul", "", own.map(origin))] : []), bars(features, score)];
}

function origin({ title, together, text }) {
  const how = together >= text ? `taken by the same users, ${together.toFixed(2)}` : `alike in text, ${text.toFixed(2)}`;
  return element("li", "", ["goes with ", element("b", "", title), ` (${how})`]);
}

/** What adds or takes most, as bars on one scale; the rest in one line. */
function bars(features, score) {
  const parts = Object.entries(features).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  const rest = parts.slice(MOST_FEATURES).reduce((sum, [, value]) => sum + value, 0);
  const shown = [...parts.slice(0, MOST_FEATURES), ...(parts.length > MOST_FEATURES ? [["all others", rest]] : [])];
  const most = Math.max(...shown.map(([, value]) => Math.abs(value)));
  const rows = shown.map(([name, value]) => {
    const bar = element("span", value < 0 ? "bar less" : "bar");
    bar.style.width = `${(100 * Math.abs(value)) / most}%`;
    return row(name.replaceAll("_", " "), bar, value);
  });
  const table = element("table", "", [element("tbody", "", [...rows, row("score", "", score)])]);
  table.createCaption().className = "hint";
  setText(table.caption, "What adds to the score, and what takes from it");
  return table;
}

function row(name, bar, value) {
  const head = element("th", "", name);
  head.scope = "row";
  return element("tr", "", [head, element("td", "", [bar]), element("td", "", value.toFixed(2))]);
}
