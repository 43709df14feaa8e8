// A row of the leaderboard as the page has it, filled by hand: of ten thousand that run by, each frame shows others, and
// an effect for every text of every cell takes longer than a frame lasts.

import type { Cell } from "./leaderboard.ts";

const filled = new WeakMap<HTMLTableRowElement, readonly Cell[]>();

/** Writes what a row says. What stands behind its texts is for rows that rest: those that pass by have none. */
export function fill(row: HTMLTableRowElement, cells: readonly Cell[], isPassing: boolean): void {
  const isKnown = filled.get(row) === cells;
  if (isKnown && isPassing) return;
  filled.set(row, cells);
  for (const [at, cell] of cells.entries()) {
    const place = row.cells[at];
    if (!place) continue;
    const isHead = place.localName === "th";
    if (!isKnown && place.classList.contains("metric")) write(place, cell);
    if (!isKnown && place.classList.contains("long") !== cell.isLong) place.classList.toggle("long");
    set(isHead ? place.firstElementChild : place, "title", isPassing ? "" : cell.title);
    if (!isHead) set(place, "data-exact", isPassing ? "" : cell.exact);
  }
}

function set(place: Element | null, name: string, value: string): void {
  if (value === "") place?.removeAttribute(name);
  else place?.setAttribute(name, value);
}

/** A text takes the place of the one before it, so that nothing is made anew. */
function write(place: HTMLElement, { text, step, flawed }: Cell): void {
  const first = place.firstChild;
  const marks = [...(step === "" ? [] : [mark("bad", "▲", step)]), ...(flawed === "" ? [] : [mark("warn", "!", flawed)])];
  if (marks.length === 0 && first instanceof Text && first.nextSibling === null) first.data = text;
  else place.replaceChildren(...marks, text);
}

function mark(tone: string, sign: string, words: string): HTMLElement {
  const made = document.createElement("span");
  made.className = `mark ${tone}`;
  made.role = "img";
  made.ariaLabel = words;
  made.textContent = sign;
  return made;
}
