// Which amount is being explained; the panel is loaded with the first one.

import type { Days } from "./days.ts";

export interface Explained {
  tenant: string;
  name: string;
  /** The days that may be chosen. */
  days: Days;
  /** The day shown first. */
  day: string;
  pool?: string | undefined;
  /** The state of the ledger that is explained; now if it is none. */
  asOf?: string | undefined;
}

class Explain {
  asked = $state.raw<Explained | null>(null);

  open(asked: Explained): void {
    this.asked = asked;
  }

  close = (): void => {
    this.asked = null;
  };
}

export const explain = new Explain();
