// What is copied has every digit, also where the screen shows fewer: `data-exact` says them.

const EXACT = "[data-exact]";

/** Returns a row as it is pasted into cells; one that only opens another is none. */
function lineOf(row: Element): string {
  return [...row.querySelectorAll("th, td")].map((cell) => cell.textContent?.trim() ?? "").join("\t");
}

const rowsOf = (part: ParentNode): Element[] => [...part.querySelectorAll("tr:not([data-skip])")];

/** Returns the text of what was cloned, with its paragraphs apart as the screen has them. */
function textOf(part: DocumentFragment): string {
  for (const table of part.querySelectorAll("table")) {
    const lines = document.createElement("pre");
    lines.textContent = rowsOf(table).map(lineOf).join("\n");
    table.replaceWith(lines);
  }
  const place = document.createElement("div");
  Object.assign(place.style, { position: "fixed", left: "-9999px" });
  place.append(part);
  document.body.append(place);
  const text = place.innerText;
  place.remove();
  return text;
}

/** Puts a text and what a part of the page says, with every digit and all that is folded, into the clipboard; returns whether it could. */
export async function copied(head: string, part: Element): Promise<boolean> {
  const content = document.createRange();
  content.selectNodeContents(part);
  const clone = content.cloneContents();
  for (const out of clone.querySelectorAll(":not(tr)[data-skip]")) out.remove();
  for (const fold of clone.querySelectorAll("details")) fold.open = true;
  for (const figure of clone.querySelectorAll<HTMLElement>(EXACT)) figure.textContent = figure.dataset.exact || figure.textContent;
  const text = `${head}${textOf(clone).trim()}\n`;
  // A page that came without TLS has no clipboard of its own; what the browser copies can be set there too.
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  addEventListener("copy", (event) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { once: true, capture: true });
  return document.execCommand("copy");
}

/** Puts exact figures into the clipboard where the selection holds figures that are rounded. */
export function copyExact(event: ClipboardEvent): void {
  const selection = getSelection();
  // A field copies its own text.
  const isField = event.target instanceof HTMLElement && event.target.matches("input, textarea");
  if (!selection || selection.isCollapsed || selection.rangeCount === 0 || !event.clipboardData || isField) return;
  const range = selection.getRangeAt(0);
  const around = range.commonAncestorContainer instanceof Element ? range.commonAncestorContainer : range.commonAncestorContainer.parentElement;
  // Within one figure: half of its digits would be a figure that nobody named.
  const single = around?.closest<HTMLElement>(EXACT);
  const part = range.cloneContents();
  const figures = part.querySelectorAll<HTMLElement>(EXACT);
  let text = single?.dataset.exact ?? "";
  if (!single) {
    if (figures.length === 0) return;
    for (const figure of figures) if (figure.dataset.exact) figure.textContent = figure.dataset.exact;
    const isTable = around?.closest("table") != null || (part.querySelectorAll("td").length > 1 && part.querySelector("table") === null);
    const rows = rowsOf(part);
    if (!isTable) text = textOf(part);
    // Cells of one row come without it.
    else text = rows.length > 0 ? rows.map(lineOf).join("\n") : [...part.querySelectorAll("th, td")].map((cell) => cell.textContent?.trim() ?? "").join("\t");
  }
  if (text === "") return;
  event.clipboardData.setData("text/plain", text);
  event.preventDefault();
}
