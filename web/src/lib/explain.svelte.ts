// Which figures are being explained: they stand in the address, one for each step that led there. The panel is loaded with the first one.

import { type Asked, parsed, printed } from "./explain.ts";
import { router } from "./router.svelte.ts";

class Explain {
  readonly trail: Asked[] = $derived(router.query.getAll("why").flatMap((text) => parsed(text) ?? []));

  /** How many entries of the history the explanations have, so that leaving them goes back by as many; 0 when an address began with one. */
  private get depth(): number {
    return (history.state as { why?: number } | null)?.why ?? 0;
  }

  private go(trail: readonly Asked[], depth: number, replace = false): void {
    router.set({ why: trail.map(printed) }, replace, { why: depth });
  }

  open = (asked: Asked): void => this.go([asked], 1);

  /** Explains a part of what is explained. */
  into = (asked: Asked): void => this.go([...this.trail, asked], this.depth > 0 ? this.depth + 1 : 0);

  /** Shows the same otherwise. */
  turn = (asked: Asked): void => this.go([...this.trail.slice(0, -1), asked], this.depth, true);

  /** Leads back to what this is a part of. */
  back = (): void => {
    if (this.depth > 1) history.back();
    else this.go(this.trail.slice(0, -1), this.depth, true);
  };

  close = (): void => {
    if (this.trail.length === 0) return;
    if (this.depth > 0) history.go(-this.depth);
    else router.set({ why: null }, true);
  };
}

export const explain = new Explain();
