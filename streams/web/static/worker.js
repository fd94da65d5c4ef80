// Requests to the worker, with its token where it asks for one, and its stream of events.

const KEY = "millrace.token";
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

/** What the worker answered when it did not do what was asked. */
export class Refused extends Error {}

let asked = null;

/** Ask for the token, once for all requests that wait for it. */
function askForToken(wasWrong) {
  asked ??= new Promise((resolve) => {
    const dialog = document.getElementById("ask");
    const field = document.getElementById("token");
    document.getElementById("ask-wrong").textContent = wasWrong ? "That is not its token." : "";
    field.value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.getElementById("ask-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, field.value);
      asked = null;
      dialog.close();
      resolve();
    };
    dialog.showModal();
  });
  return asked;
}

/** `fetch` of a path of this worker. */
export async function request(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = { ...options.headers };
    if (token !== null) {
      // Headers take one byte a sign: those of its UTF-8.
      const bytes = String.fromCharCode(...new TextEncoder().encode(token));
      headers.Authorization = `Bearer ${bytes}`;
    }
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.status !== 401) return response;
    await askForToken(token !== null && token === sessionStorage.getItem(KEY));
  }
}

/** The JSON at a path; throws `Refused` with the worker's own words. */
export async function json(path, options) {
  const response = await request(path, options);
  const body = await response.json();
  if (!response.ok) throw new Refused(body.error?.message ?? response.statusText);
  return body;
}

/**
 * Follow server-sent events until aborted, and connect again when they end.
 * `on` maps their names to handlers, and has `open` and `lost`. (An EventSource sends no token.)
 */
export async function follow(path, on, signal) {
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      const response = await request(path(), { signal });
      if (!response.ok) throw new Refused(response.statusText);
      on.open();
      wait = FIRST_WAIT_MS;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const events = (text + part.value).split("\n\n");
        text = events.pop();
        for (const event of events) {
          const [, name, data] = /^event: ([^\n]*)\ndata: (.*)$/s.exec(event);
          on[name](JSON.parse(data));
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TypeError || error instanceof Refused)) throw error;
    }
    if (signal.aborted) return;
    on.lost();
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }
}
