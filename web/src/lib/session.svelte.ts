// Who is signed in. The token stays in this tab and is forgotten with it; no cookie, so nothing is sent by itself.

import { ApiError, Client, type Settings } from "./api.ts";
import { forget } from "./draft.ts";

const KEY = "apportion.token";

class Session {
  settings = $state<Settings | null>(null);
  client = $state<Client | null>(null);
  /** Whether the stored token is being tried. */
  isOpening = $state(true);
  /** Why the last session ended, if it did not end by the person's wish. */
  ended = $state(false);
  /** Why the stored token could not be tried: a server that fails now says nothing against it. */
  failure = $state<unknown>(null);

  /** Tries the token of this tab, if there is one. */
  restore = async (): Promise<void> => {
    [this.isOpening, this.failure] = [true, null];
    const token = sessionStorage.getItem(KEY);
    try {
      if (token !== null) await this.open(token);
    } catch (error) {
      // The sign-in page says what is wrong when the token is entered again.
      if (error instanceof ApiError && [401, 403].includes(error.problem.status)) this.close(true);
      else this.failure = error;
    } finally {
      this.isOpening = false;
    }
  };

  /** Signs in. Throws what the server says against it. */
  async open(token: string): Promise<void> {
    const client = new Client(token, () => this.close(true));
    try {
      this.settings = await client.settings();
    } catch (error) {
      this.ended = false;
      throw error;
    }
    this.client = client;
    this.ended = false;
    sessionStorage.setItem(KEY, token);
  }

  /** Asks again who this is and what day it is; a tab may have been left open overnight. */
  async refresh(): Promise<void> {
    const client = this.client;
    const fresh = await client?.settings().catch(() => null);
    if (fresh && this.client === client) this.settings = fresh;
  }

  close(ended = false): void {
    sessionStorage.removeItem(KEY);
    forget(sessionStorage, ended);
    this.client = null;
    this.settings = null;
    this.ended = ended;
  }

  get isPlatformAdmin(): boolean {
    return this.settings?.role === "platform_admin";
  }
}

export const session = new Session();

/** Returns what a person can be told about an error. */
export function problemOf(error: unknown): { title: string; detail: string; code: string; request: string; faults: string[] } {
  if (error instanceof ApiError) {
    const { title, detail, code, request_id, errors = [] } = error.problem;
    const said = detail ?? "";
    const faults = errors.filter(({ message }) => !said.includes(message)).map(({ pointer, message }) => [pointer, message].filter(Boolean).join(": "));
    return { title, detail: said, code, request: request_id ?? "", faults };
  }
  return { title: "Something went wrong in this page", detail: String(error), code: "page", request: "", faults: [] };
}
