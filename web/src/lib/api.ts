// The public REST API, and nothing else: what a page shows, everybody can ask for.

import type { components } from "./schema.d.ts";
import type { SnapshotRow } from "./metrics.ts";

type Schemas = components["schemas"];
export type Problem = Pick<Schemas["Problem"], "code" | "title" | "detail" | "request_id" | "status"> & {
  /** What is wrong in detail, and where. */
  errors?: Pick<Schemas["ProblemError"], "pointer" | "message">[];
};
export type Tenant = Schemas["TenantBody"];
export type Schema<Name extends keyof Schemas> = Schemas[Name];
/** A row of costs; the view at current rates also says what was used. */
export type CostRow = Schemas["CostRowBody"] & { usage?: Record<string, string> };
/** The view at current rates says which card priced it and how far it is from the bill. */
export interface CurrentMeta {
  rate_card_version?: string;
  /** What the ledger holds for the same days, estimates apart. */
  posted?: string;
  /** By which factor every price would have to change for the total to be `posted`. */
  calibration?: string | null;
  price_warnings?: string[];
  unknown_keys?: string[];
}
export type Costs = Omit<Schemas["CostsBody"], "rows" | "meta"> & { rows: CostRow[]; meta: Schemas["CostMetaBody"] & CurrentMeta };

/** `GET /settings`. */
export interface Settings {
  role: string;
  tenants?: string[] | null;
  organisation: { name: string; timezone: string; reporting_currency: string; tenant_word: string };
  today: string;
  snapshot: string;
  tenant_links: { label: string; url: string }[];
  version: string;
}

/** A run of the snapshot job. */
export interface SnapshotRun {
  id: string;
  status: string;
  date: string;
  tenants: number;
  failed: { tenant: string; reason: string }[];
  failed_total: number;
  degraded: number;
  warnings: string[];
  error?: string | null;
  /** When it began. */
  created_at: string;
}

/** A job of `GET /schedule`. */
export interface Job {
  job: string;
  at: string;
  timezone: string;
  next_run_at: string;
  status?: string | null;
  error?: string | null;
}

export interface Page<Row> {
  rows: Row[];
  next_cursor?: string | null;
}

export type Query = Record<string, string | number | undefined>;

/** The server refused, or could not be reached. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail ?? problem.title);
  }
}

/** What is said of a server that gives no answer. */
export const OFFLINE: Problem = {
  code: "unreachable",
  title: "The server does not answer",
  detail: "The server could not be reached. Check the connection and try again.",
  request_id: "",
  status: 0,
};

/** Returns the address below the base path that the page was served at. */
export function address(path: string, query: Query = {}): string {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
  return url.href;
}

/** What is sent, and as what. */
export interface Body {
  type: string;
  text: string;
}

/** Returns a body of JSON. */
export function jsonBody(content: unknown): Body {
  return { type: "application/json", text: JSON.stringify(content) };
}

/** Returns a key under which a request counts once; also where a page that came without TLS has no `randomUUID`. */
export function onceKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns JSON with its numbers in quotes: a number would lose digits on its way through a float. */
export function numbersAsText(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (found) => (found.startsWith('"') ? found : `"${found}"`));
}

/** Asks the API with a token; refusals become `ApiError`. */
export class Client {
  constructor(
    private readonly token: string,
    private readonly refused: () => void = () => undefined,
  ) {}

  private async send(method: string, path: string, query: Query, accept: string, signal?: AbortSignal, body?: Body, key?: string): Promise<Response> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.token}`, accept };
    if (body) headers["content-type"] = body.type;
    if (key) headers["idempotency-key"] = key;
    let answer: Response;
    try {
      const init: RequestInit = { method, headers, credentials: "omit" };
      if (body) init.body = body.text;
      if (signal) init.signal = signal;
      answer = await fetch(address(`api/v1${path}`, query), init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(OFFLINE);
    }
    if (answer.ok) return answer;
    if (answer.status === 401) this.refused();
    const said = (await answer.json().catch(() => ({}))) as Partial<Problem>;
    throw new ApiError({
      code: said.code ?? "unexpected",
      title: said.title ?? "Unexpected answer",
      detail: said.detail ?? `The server answered ${answer.status}.`,
      request_id: said.request_id ?? answer.headers.get("x-request-id") ?? "",
      status: answer.status,
      errors: said.errors ?? [],
    });
  }

  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return (await this.send("GET", path, query, "application/json", signal)).json() as Promise<T>;
  }

  /** With a key the server does it once, however often it is asked. */
  async post<T>(path: string, query: Query = {}, body?: Body, key?: string): Promise<T> {
    return (await this.send("POST", path, query, "application/json", undefined, body, key)).json() as Promise<T>;
  }

  async put<T>(path: string, body: Body): Promise<T> {
    return (await this.send("PUT", path, {}, "application/json", undefined, body)).json() as Promise<T>;
  }

  async delete(path: string): Promise<void> {
    await this.send("DELETE", path, {}, "application/json");
  }

  /** Returns a text as it is. */
  async text(path: string, accept: string, signal?: AbortSignal): Promise<string> {
    return (await this.send("GET", path, {}, accept, signal)).text();
  }

  /** Returns an answer whose money is written as numbers, with every number as the text it was sent as. */
  async exact<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return JSON.parse(numbersAsText(await (await this.send("GET", path, query, "application/json", signal)).text())) as T;
  }

  /** Hands over each server-sent event until the server ends the stream. */
  async follow(path: string, take: (event: string, data: unknown) => void, signal: AbortSignal): Promise<void> {
    await this.read(await this.send("GET", path, {}, "text/event-stream", signal), take);
  }

  /** Asks a question with a text, and hands over each event of the answer; a server that sends no events answers with `done`. */
  async ask(path: string, query: Query, body: Body, take: (event: string, data: unknown) => void, signal: AbortSignal): Promise<void> {
    const answer = await this.send("POST", path, query, "text/event-stream, application/json;q=0.9", signal, body);
    if (answer.headers.get("content-type")?.startsWith("text/event-stream")) await this.read(answer, take);
    else take("done", await answer.json());
  }

  private async read(answer: Response, take: (event: string, data: unknown) => void): Promise<void> {
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let kept = "";
    for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
      const blocks = (kept + piece.value).split(/\r?\n\r?\n/);
      kept = blocks.pop() ?? "";
      for (const block of blocks) {
        const lines = block.split(/\r?\n/);
        const field = (name: string) =>
          lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim()).join("\n");
        if (field("data") !== "") take(field("event"), JSON.parse(field("data")));
      }
    }
  }

  /** Returns a file and the name that the server gives it; `took` is told how many bytes have come. */
  async file(path: string, query: Query, accept = "text/csv", took: (bytes: number) => void = () => undefined, signal?: AbortSignal): Promise<{ name: string | null; content: Blob }> {
    const answer = await this.send("GET", path, query, accept, signal);
    const name = /filename="?([^";]+)"?/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? null;
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    const reader = answer.body?.getReader();
    for (let [piece, bytes] = [await reader?.read(), 0]; piece && !piece.done; piece = await reader?.read()) {
      pieces.push(piece.value);
      took((bytes += piece.value.byteLength));
    }
    return { name, content: new Blob(pieces, { type: answer.headers.get("content-type") ?? accept }) };
  }

  settings(): Promise<Settings> {
    return this.get("/settings");
  }

  costs(query: Query, signal?: AbortSignal): Promise<Costs> {
    return this.get("/costs", query, signal);
  }

  /** Returns the rows of every page, at most so many pages. */
  async all<Row>(path: string, query: Query, pages: number, signal?: AbortSignal): Promise<Row[]> {
    const rows: Row[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < pages; page += 1) {
      const found: Page<Row> = await this.get(path, { ...query, limit: 1000, cursor }, signal);
      rows.push(...found.rows);
      if (found.next_cursor == null) break;
      cursor = found.next_cursor;
    }
    return rows;
  }

  snapshots(query: Query, pages: number, signal?: AbortSignal): Promise<SnapshotRow[]> {
    return this.all("/snapshots", query, pages, signal);
  }
}

/** Hands a file to the browser's downloads. */
export function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
