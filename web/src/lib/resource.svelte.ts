// What a panel asks the server for: asked again when what the question reads changes, dropped when the panel goes.

import { untrack } from "svelte";

/** What is known of a question: its answer, why it failed, whether it is on its way. */
export interface Answer {
  readonly data: unknown;
  readonly error: unknown;
  readonly isBusy: boolean;
  readonly again: () => void;
}

export class Resource<T> implements Answer {
  data = $state.raw<T | null>(null);
  error = $state<unknown>(null);
  isBusy = $state(true);
  private turn = $state(0);

  /** `ask` runs in an effect: what it reads before its first wait is followed. Null asks for nothing. */
  constructor(ask: (signal: AbortSignal) => Promise<T> | null) {
    $effect(() => {
      void this.turn;
      const stop = new AbortController();
      const asked = ask(stop.signal);
      if (asked) untrack(() => void this.take(asked, stop.signal));
      else this.isBusy = false;
      return () => stop.abort();
    });
  }

  private async take(asked: Promise<T>, signal: AbortSignal): Promise<void> {
    this.isBusy = true;
    try {
      const data = await asked;
      if (signal.aborted) return;
      [this.data, this.error] = [data, null];
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.isBusy = false;
  }

  /** Asks again. */
  again = (): void => {
    this.turn += 1;
  };
}
