// The page of the API: draws /openapi.json. Nothing is fetched from elsewhere.

import { byId, element, setText } from "/static/dom.js";
import { json, Refused } from "/static/worker.js";

const NAME = "#/components/schemas/";

/** A schema in a few words: its type, or the name of the one that it refers to. */
function words(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.replace(NAME, "");
  if (schema.allOf) return schema.allOf.filter((each) => each.$ref).map(words).join(" and ");
  if (schema.anyOf) return schema.anyOf.map(words).join(" or ");
  if (schema.type === "array") return `list of ${words(schema.items)}`;
  const bounds = [["minimum", "≥"], ["maximum", "≤"]].filter(([key]) => key in schema);
  const limits = bounds.map(([key, sign]) => ` ${sign} ${schema[key]}`).join("");
  const standard = schema.default === undefined ? "" : `, ${JSON.stringify(schema.default)} unless given`;
  return `${schema.type ?? "anything"}${limits}${standard}`;
}

function table(headings, rows) {
  const row = (tag, cells) => element("tr", "", cells.map((text) => element(tag, "", text)));
  const head = element("thead", "", [row("th", headings)]);
  return element("table", "", [head, element("tbody", "", rows.map((cells) => row("td", cells)))]);
}

function content(described) {
  return words(described?.content?.["application/json"]?.schema);
}

function operation(method, path, told) {
  const parts = [element("summary", "", [
    element("span", "method", method.toUpperCase()), element("code", "", path), ` ${told.summary}`,
  ])];
  if (told.parameters) {
    parts.push(table(["parameter", "in", "what"], told.parameters.map((each) =>
      [each.name + (each.required ? " (required)" : ""), each.in, words(each.schema)])));
  }
  if (told.requestBody) {
    parts.push(element("p", "", `Body: ${content(told.requestBody)}. ${told.requestBody.description ?? ""}`));
  }
  parts.push(table(["status", "", "body"], Object.entries(told.responses).map(([status, each]) =>
    [status, each.description, content(each)])));
  return element("details", "", parts);
}

function schema(name, told) {
  const source = element("pre", "", JSON.stringify(told, null, 2));
  const parts = [element("summary", "", [element("code", "", name), ` ${told.description ?? ""}`]), source];
  return element("details", "", parts);
}

try {
  const { info, paths, components } = await json("/openapi.json");
  document.title = `${info.title} ${info.version}: HTTP API`;
  byId("operations").replaceChildren(...Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, told]) => operation(method, path, told))));
  byId("schemas").replaceChildren(...Object.entries(components.schemas).map(([name, told]) => schema(name, told)));
} catch (error) {
  if (!(error instanceof Refused || error instanceof TypeError)) throw error;
  setText(byId("wrong"), `The worker did not answer: ${error.message}`);
}
