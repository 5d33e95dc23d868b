// The OpenAPI document for people: every address, what goes in, what comes out.

const make = (name, text = "", kind = "") => {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
};

function resolve(schema, document) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((part, name) => part[name], document);
}

function typeOf(schema, document) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, document)).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}, document)}`;
  return [schema.type, schema.format].filter(Boolean).join(", ") || "anything";
}

function limitsOf(schema) {
  const inner = schema.anyOf?.find((one) => one.type !== "null") ?? schema;
  const words = [];
  if (inner.minimum !== undefined) words.push(`from ${inner.minimum}`);
  if (inner.exclusiveMinimum !== undefined) words.push(`above ${inner.exclusiveMinimum}`);
  if (inner.maximum !== undefined) words.push(`to ${inner.maximum}`);
  if (inner.pattern) words.push(inner.pattern);
  if (schema.default !== undefined && schema.default !== null) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join(", ");
}

function table(rows) {
  const made = make("table");
  for (const cells of rows) {
    const line = made.insertRow();
    for (const [index, text] of cells.entries()) {
      const cell = line.insertCell();
      cell.append(index === 0 ? make("code", text) : text);
    }
  }
  return made;
}

function fields(schema, document) {
  const whole = resolve(schema, document);
  const required = new Set(whole.required ?? []);
  return Object.entries(whole.properties ?? {}).map(([name, one]) => [
    name + (required.has(name) ? " *" : ""),
    typeOf(one, document),
    [one.description, limitsOf(one)].filter(Boolean).join(" "),
  ]);
}

function operation(method, path, described, document) {
  const panel = make("article", "", "panel");
  const line = make("div", "", "line");
  line.append(make("span", method.toUpperCase(), "method"), make("code", path));
  panel.append(line, make("p", described.description ?? described.summary ?? ""));
  const parameters = (described.parameters ?? []).map((one) => [
    one.name + (one.required ? " *" : ""),
    `${typeOf(one.schema, document)} (${one.in})`,
    [one.description ?? one.schema.description, limitsOf(one.schema)].filter(Boolean).join(" "),
  ]);
  if (parameters.length) panel.append(make("h4", "Parameters"), table(parameters));
  for (const [kind, { schema }] of Object.entries(described.requestBody?.content ?? {})) {
    panel.append(make("h4", `Body, ${kind}`), table(fields(schema, document)));
  }
  for (const [status, one] of Object.entries(described.responses ?? {})) {
    if (Number(status) >= 300) continue;
    const kinds = Object.keys(one.content ?? {}).join(", ");
    panel.append(make("h4", `Answer ${status}${kinds ? `, ${kinds}` : ""}`));
    const schema = one.content?.["application/json"]?.schema;
    if (schema) panel.append(table(fields(schema, document)));
  }
  return panel;
}

const root = document.getElementById("docs");
const response = await fetch("/openapi.json");
const described = await response.json();
root.replaceChildren(make("p", described.info.description, "dim"));
const groups = new Map();
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, one] of Object.entries(methods)) {
    const tag = one.tags?.[0] ?? "other";
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push(operation(method, path, one, described));
  }
}
for (const [tag, panels] of groups) root.append(make("h2", tag), ...panels);
root.append(make("h2", "Parts"));
for (const [name, schema] of Object.entries(described.components.schemas)) {
  if (!schema.properties) continue;
  const panel = make("article", "", "panel");
  panel.append(make("code", name), make("p", schema.description ?? ""), table(fields(schema, described)));
  root.append(panel);
}
