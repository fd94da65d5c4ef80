// Small things for the other modules. Text from outside only ever becomes `textContent`.

export const byId = (id) => document.getElementById(id);

/** An element with a class and text or children. */
export function element(tag, className = "", content = []) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (Array.isArray(content)) made.append(...content);
  else made.textContent = content;
  return made;
}

/** Set text only where it changes, so that nothing is announced or drawn for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const count = new Intl.NumberFormat("en");
export const number = (value) => count.format(value);

/** Microseconds, as people read them. */
export function duration(us) {
  if (us >= 1e6) return `${(us / 1e6).toFixed(1)} s`;
  if (us >= 1e4) return `${(us / 1e3).toFixed(0)} ms`;
  if (us >= 1e3) return `${(us / 1e3).toFixed(2)} ms`;
  return `${us} µs`;
}

/** The same for an axis, where values are round. */
export function shortDuration(us) {
  if (us === 0) return "0";
  return us >= 1e6 ? `${us / 1e6} s` : us >= 1e3 ? `${us / 1e3} ms` : `${us} µs`;
}

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
export const timeOfDay = (ms) => clock.format(ms);

/** A moment: the time of one of today, else its date. */
export function moment(ms) {
  return new Date(ms).toDateString() === new Date().toDateString() ? clock.format(ms) : day.format(ms);
}
