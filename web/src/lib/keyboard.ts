// Keys that every page has. A page says by attributes what they act on: `data-search`, `data-row`, `data-export`.

/** Returns what opens the palette, as the keyboards of the reader's system are labelled. */
export function paletteKey(platform = navigator.platform): string {
  return /^(Mac|iP)/.test(platform) ? "⌘K" : "Ctrl K";
}

const inField = (event: KeyboardEvent) => event.target instanceof HTMLElement && event.target.matches("input, select, textarea");

/** Does what a key of a page stands for; `find` searches everywhere, from a page that has no search of its own. */
export function pageKey(event: KeyboardEvent, find: () => void): void {
  const search = document.querySelector<HTMLInputElement>("input[data-search]");
  if (event.key === "Escape" && search && (!inField(event) || event.target === search)) {
    if (search.value !== "") {
      search.value = "";
      search.dispatchEvent(new Event("input", { bubbles: true }));
    }
    return;
  }
  if (inField(event)) return;
  if (event.key === "/") {
    event.preventDefault();
    if (search) search.focus();
    else find();
  } else if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (event.key === "e") document.querySelector<HTMLElement>("[data-export]")?.click();
  else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && !scrolls(event)) {
    document.querySelector<HTMLElement>(event.key === "ArrowLeft" ? "[data-before]" : "[data-after]")?.click();
  }
}

/** The arrows scroll what scrolls sideways. */
const scrolls = (event: KeyboardEvent) => event.target instanceof HTMLElement && event.target.getAttribute("role") === "region";

function move(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
  const now = rows.findIndex((row) => row === document.activeElement);
  const next = rows[now < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, now + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
