// Which page is shown, and the state of it that stands in the address. Defaults are left out of the address.

class Router {
  path = $state("/");
  query = $state(new URLSearchParams());

  start(): void {
    this.read();
    addEventListener("popstate", () => this.read());
    document.addEventListener("click", (event) => this.follow(event));
  }

  /** Goes to a page of ours; `replace` leaves no entry to come back to. */
  go(path: string, replace = false): void {
    const url = new URL(path.replace(/^\//, ""), document.baseURI);
    if (replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
    this.read();
    scrollTo(0, 0);
  }

  /** Changes parameters of the address; null removes one, a list sets one for each of its texts. `state` is kept with the entry. */
  set(changes: Record<string, string | string[] | null>, replace = false, state: unknown = null): void {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (typeof value === "string") url.searchParams.set(name, value);
      else url.searchParams.delete(name);
      if (Array.isArray(value)) for (const text of value) url.searchParams.append(name, text);
    }
    // Readable: what may stand in a query as it is, stays as it is.
    url.search = url.searchParams.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    if (url.href === location.href) return;
    if (replace) history.replaceState(state, "", url);
    else history.pushState(state, "", url);
    this.read();
  }

  private read(): void {
    const base = new URL(document.baseURI).pathname;
    this.path = `/${location.pathname.slice(base.length)}`;
    this.query = new URLSearchParams(location.search);
  }

  private follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a[data-page]") : null;
    if (!link) return;
    event.preventDefault();
    this.go(link.getAttribute("href") ?? "/");
  }
}

export const router = new Router();
