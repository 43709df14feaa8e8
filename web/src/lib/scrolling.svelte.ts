// How a box with many rows is scrolled: where it stands, which way and how fast its rows run by.

/** For how long nothing moved when a scroll is over. */
const REST_MS = 150;

export class Scrolling {
  top = $state(0);
  isUpward = $state(false);
  /** Pixels of a frame while rows run by faster than rows ahead could be drawn for: then those of the next frame are drawn, and no others. */
  pace = $state(0);
  /**
   * While rows run by: how far the box is scrolled sideways, and how much further it could be. Each cell that sticks is a
   * layer of its own, of which a hundred are too many to be moved in a frame; until the rows rest, pinned cells lie still.
   */
  held = $state.raw<{ left: number; behind: number } | null>(null);
  readonly isPassing = $derived(this.held !== null);
  private rest: ReturnType<typeof setTimeout> | undefined;
  private frame = 0;

  /** `fast` is more pixels in a frame than there are rows ahead. */
  constructor(private readonly fast: number) {}

  /** Takes where the box stands now. */
  to(box: HTMLElement, isHeld: boolean): void {
    const by = box.scrollTop - this.top;
    this.end();
    // A single jump has no pace; what has one goes on, or this frame was its last.
    this.pace = this.isPassing && Math.abs(by) > this.fast / (this.pace === 0 ? 1 : 2) ? by : 0;
    if (this.pace !== 0) this.frame = requestAnimationFrame(() => (this.frame = requestAnimationFrame(() => (this.pace = 0))));
    if (isHeld && by !== 0) {
      this.held = { left: box.scrollLeft, behind: box.scrollWidth - box.clientWidth - box.scrollLeft };
      this.rest = setTimeout(() => (this.held = null), REST_MS);
    } else this.held = null;
    if (by !== 0) this.isUpward = by < 0;
    this.top = box.scrollTop;
  }

  /** Nothing comes later of what was begun. */
  end = (): void => {
    clearTimeout(this.rest);
    cancelAnimationFrame(this.frame);
  };
}
