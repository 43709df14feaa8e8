"use strict";

// Renders openapi.json. Everything is set as text, so nothing in the document can become markup.
(async () => {
  const answer = await fetch("../api/v1/openapi.json");
  const api = await answer.json();
  const make = (tag, text, parent, className) => {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    if (className) node.className = className;
    if (parent) parent.append(node);
    return node;
  };
  const table = (head, rows, parent) => {
    const node = make("table", "", parent);
    const line = make("tr", "", node);
    head.forEach((text) => make("th", text, line));
    rows.forEach((cells) => {
      const row = make("tr", "", node);
      cells.forEach((text) => make("td", text, row));
    });
  };
  const nameOf = (schema) => {
    if (!schema) return "";
    if (schema.$ref) return schema.$ref.split("/").pop();
    if (schema.oneOf) return schema.oneOf.map(nameOf).join(" or ");
    const type = [].concat(schema.type || "any").join(" or ");
    return schema.items ? `list of ${nameOf(schema.items)}` : type;
  };

  document.getElementById("about").textContent = `${api.info.description} Version ${api.info.version}.`;
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    ["get", "post", "put", "delete"].filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })));
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags || []))];
  const index = document.getElementById("index");
  const routes = document.getElementById("routes");
  tags.forEach((tag) => {
    make("h2", tag, routes).id = `tag-${tag}`;
    const list = make("ul", "", index);
    operations.filter(({ operation }) => (operation.tags || []).includes(tag)).forEach(({ path, method, operation }) => {
      const id = operation.operationId;
      const link = make("a", `${method.toUpperCase()} ${path}`, make("li", "", list));
      link.href = `#${id}`;
      const heading = make("h3", "", routes);
      heading.id = id;
      make("span", method.toUpperCase(), heading, "method");
      make("code", path, heading);
      make("p", [operation.summary, operation.description].filter(Boolean).join(" "), routes);
      make("p", `For: ${operation["x-access"]}`, routes, "access");
      if (operation.parameters) {
        table(["parameter", "in", "", "meaning"], operation.parameters.map((parameter) =>
          [parameter.name, parameter.in, parameter.required ? "required" : "", parameter.description || ""]), routes);
      }
      if (operation.requestBody) {
        table(["body", "schema"], Object.entries(operation.requestBody.content).map(([type, content]) =>
          [type, nameOf(content.schema)]), routes);
      }
      table(["answer", "content", "schema"], Object.entries(operation.responses).flatMap(([status, response]) => {
        const content = Object.entries(response.content || {});
        return content.length ? content.map(([type, body]) => [status, type, nameOf(body.schema)]) : [[status, "", response.description]];
      }), routes);
    });
  });
  const problems = document.getElementById("problems");
  make("h2", "Problems", problems);
  api["x-problems"].forEach((kind) => {
    const heading = make("h3", "", problems);
    heading.id = `problem-${kind.code}`;
    make("span", String(kind.status), heading, "method");
    make("code", kind.code, heading);
    make("p", kind.meaning, problems);
  });
  const schemas = document.getElementById("schemas");
  make("h2", "Schemas", schemas);
  Object.entries(api.components.schemas).forEach(([name, schema]) => {
    make("h3", name, schemas).id = `schema-${name}`;
    if (schema.description) make("p", schema.description, schemas);
    const members = Object.entries(schema.properties || {});
    if (members.length) {
      table(["member", "type", "meaning"], members.map(([member, type]) =>
        [member, nameOf(type), type.description || ""]), schemas);
    } else {
      make("pre", JSON.stringify(schema, null, 2), schemas);
    }
  });
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
})();
