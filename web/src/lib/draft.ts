// A draft of a policy or a rate card and what it would change, kept in the tab until it is published, dropped or signed out of.

import type { Schema } from "./api.ts";

export type WhatIf = Schema<"WhatIfBody">;

/** What a text would change. */
export interface Effect {
  text: string;
  /** When it was asked for. */
  at: string;
  /** Null while it is computed, and where it is too large to be kept: it is asked for anew. */
  impact: WhatIf | null;
}

/** Where names of this tab's keys begin; `Session.close` forgets them. */
const DRAFT = "apportion.draft.";
const EFFECT = "apportion.effect.";

export class KeptDraft {
  constructor(
    private readonly kind: string,
    private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> = sessionStorage,
  ) {}

  get text(): string | null {
    return this.storage.getItem(DRAFT + this.kind);
  }

  /** Keeps a text; without one nothing is kept. */
  set text(text: string | null) {
    if (text === null) {
      this.storage.removeItem(DRAFT + this.kind);
      this.effect = null;
    } else this.storage.setItem(DRAFT + this.kind, text);
  }

  /** The effect of the text that is kept; of another text there is none. */
  get effect(): Effect | null {
    try {
      const found = JSON.parse(this.storage.getItem(EFFECT + this.kind) ?? "null") as Effect | null;
      return found !== null && found.text === this.text ? found : null;
    } catch {
      return null;
    }
  }

  set effect(effect: Effect | null) {
    if (effect === null) {
      this.storage.removeItem(EFFECT + this.kind);
      return;
    }
    try {
      this.storage.setItem(EFFECT + this.kind, JSON.stringify(effect));
    } catch {
      this.storage.setItem(EFFECT + this.kind, JSON.stringify({ ...effect, impact: null }));
    }
  }
}

/** Forgets what the tab keeps; a text that was typed outlives a session that was ended by the server. */
export function forget(storage: Storage, isEnded: boolean): void {
  for (const key of Object.keys(storage)) {
    if (key.startsWith(EFFECT) || (!isEnded && key.startsWith(DRAFT))) storage.removeItem(key);
  }
}
