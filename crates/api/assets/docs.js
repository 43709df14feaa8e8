"use strict";

// Renders openapi.json. Everything is set as text, so nothing in the document can become markup.
(async () => {
  const about = document.getElementById("about");
  const answer = await fetch("../api/v1/openapi.json").catch(() => null);
  if (!answer?.ok) {
    about.textContent = "The document could not be loaded. Reload the page to try again.";
    return;
  }
  const api = await answer.json();
  const make = (tag, text, parent, className) => {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    if (className) node.className = className;
    if (parent) parent.append(node);
    return node;
  };
  // A text in which `this` is code.
  const prose = (text, place) => text.split("`").forEach((piece, at) => make(at % 2 === 1 ? "code" : "span", piece, place));
  const link = (text, href, parent) => {
    make("a", text, parent).href = href;
  };
  // A cell is a text, or a function that fills it. The first one names its row.
  const table = (caption, head, rows, parent) => {
    const node = make("table", "", parent);
    make("caption", caption, node);
    const line = make("tr", "", make("thead", "", node));
    head.forEach((text) => (make("th", text, line).scope = "col"));
    const body = make("tbody", "", node);
    rows.forEach((cells) => {
      const row = make("tr", "", body);
      cells.forEach((cell, at) => {
        const place = make(at === 0 ? "th" : "td", at === 0 ? cell : "", row);
        if (at === 0) place.scope = "row";
        else if (typeof cell === "function") cell(place);
        else prose(cell, place);
      });
    });
  };
  // Writes a schema's type; what has a name leads to it.
  const type = (schema) => (place) => {
    if (!schema) return;
    if (schema.$ref) {
      const name = schema.$ref.split("/").pop();
      link(name, `#schema-${name}`, place);
      return;
    }
    const any = schema.oneOf || schema.anyOf;
    if (any) {
      any.forEach((one, at) => {
        if (at > 0) place.append(" or ");
        type(one)(place);
      });
      return;
    }
    const words = [].concat(schema.type || "any").join(" or ");
    if (schema.items) {
      place.append(`${[].concat(schema.type).includes("null") ? "null or " : ""}list of `);
      type(schema.items)(place);
    } else if (schema.additionalProperties && typeof schema.additionalProperties === "object") {
      place.append("map of ");
      type(schema.additionalProperties)(place);
    } else {
      place.append(schema.enum ? schema.enum.join(" or ") : words);
    }
  };

  about.textContent = `${api.info.description} Version ${api.info.version}. `;
  link("openapi.json", "../api/v1/openapi.json", about);
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    ["get", "post", "put", "delete"].filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })));
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags || []))];
  const index = document.getElementById("index");
  const main = document.getElementById("routes");
  const article = (id, method, title) => {
    const node = make("article", "", main);
    node.id = id;
    const heading = make("h3", "", node);
    if (method) make("span", method.toUpperCase(), heading, `method ${method}`);
    make("code", title, heading);
    return node;
  };
  const group = (title, id) => {
    make("h2", title, main).id = id;
    link(title, `#${id}`, make("h2", "", index));
    return make("ul", "", index);
  };

  tags.forEach((tag) => {
    const list = group(tag, `tag-${tag}`);
    operations.filter(({ operation }) => (operation.tags || []).includes(tag)).forEach(({ path, method, operation }) => {
      const id = operation.operationId;
      const entry = make("a", "", make("li", "", list));
      entry.href = `#${id}`;
      make("span", method.toUpperCase(), entry, `method ${method}`);
      make("span", path.replace("/api/v1", ""), entry);
      const node = article(id, method, path);
      prose([operation.summary, operation.description].filter(Boolean).join(" "), make("p", "", node));
      make("p", `For ${operation["x-access"]}`, node, "access");
      if (operation.parameters?.length) {
        table("Parameters", ["name", "in", "meaning"], operation.parameters.map((parameter) =>
          [parameter.name, parameter.in + (parameter.required ? ", required" : ""), parameter.description || ""]), node);
      }
      if (operation.requestBody) {
        table("Body", ["content", "schema"], Object.entries(operation.requestBody.content).map(([content, body]) =>
          [content, type(body.schema)]), node);
      }
      table("Answers", ["status", "content", "schema"], Object.entries(operation.responses).flatMap(([status, response]) => {
        const content = Object.entries(response.content || {});
        return content.length ? content.map(([name, body]) => [status, name, type(body.schema)]) : [[status, "", response.description]];
      }), node);
    });
  });
  const problems = group("Problems", "problems");
  api["x-problems"].forEach((kind) => {
    const id = `problem-${kind.code}`;
    link(kind.code, `#${id}`, make("li", "", problems));
    const node = article(id, "", kind.code);
    prose(`${kind.status} ${kind.title}. ${kind.meaning}`, make("p", "", node));
  });
  const schemas = group("Schemas", "schemas");
  Object.entries(api.components.schemas).forEach(([name, schema]) => {
    link(name, `#schema-${name}`, make("li", "", schemas));
    const node = article(`schema-${name}`, "", name);
    if (schema.description) prose(schema.description, make("p", "", node));
    const members = Object.entries(schema.properties || {});
    if (members.length) {
      table("Members", ["name", "type", "meaning"], members.map(([member, of]) => [member, type(of), of.description || ""]), node);
    } else {
      make("pre", JSON.stringify(schema, null, 2), node);
    }
  });
  // The address was read before its target was there.
  if (location.hash) {
    const { hash } = location;
    history.replaceState(null, "", location.pathname);
    location.replace(hash);
  }
})();
