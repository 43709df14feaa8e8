// How fast long work goes and when it ends. Counts and seconds only: no money.

import { bytes } from "./format.ts";

/** How often long work that is under way is looked at, in milliseconds. */
export const POLL_MS = 2000;
/** How soon it is noticed that somebody else began some, or the schedule. */
export const LOOK_MS = 20_000;

/** Where long work stands. */
export interface Progress {
  done: number;
  /** 0 while it is not known. */
  total: number;
  /** Since when it has been counted, and now; milliseconds. */
  begun: number;
  now: number;
}

/** Returns since when a run counts, by its own time; a clock that is behind the server's counts from now. */
export function begunAt(started: string | null | undefined, now: number): number {
  const at = Date.parse(started ?? "");
  return Number.isNaN(at) ? now : Math.min(at, now);
}

/**
 * Returns the progress as a line: `30 of 90 days, 60 s, 30 days/min, about 2 min left`. `one` is what is counted; bytes are
 * said in the unit that fits.
 */
export function paceText({ done, total, begun, now }: Progress, one: string, of?: string): string {
  const seconds = Math.max(0, Math.round((now - begun) / 1000));
  const counted = one === "byte" ? `${size(done, of)}${total > 0 ? ` of ${size(total, of)}` : ""}` : `${whole(done, of)}${total > 0 ? ` of ${whole(total, of)}` : ""} ${done === 1 && total <= 1 ? one : `${one}s`}`;
  if (done === 0 || seconds === 0) return `${counted}, ${time(seconds)}`;
  const left = done < total ? `, about ${time(Math.ceil((seconds / done) * (total - done)))} left` : "";
  return `${counted}, ${time(seconds)}, ${one === "byte" ? `${size(done / seconds, of)}/s` : rate(done / seconds, `${one}s`, of)}${left}`;
}

const size = (count: number, of?: string) => bytes(String(Math.round(count)), of);
/** In groups from five digits on. */
const whole = (count: number, of?: string) => count.toLocaleString(of, { useGrouping: "min2" });

/** Per second from one a second on, per minute below that. */
function rate(each: number, many: string, of?: string): string {
  const [value, per] = each >= 1 ? [each, "s"] : [each * 60, "min"];
  return `${value < 10 ? Math.round(value * 10) / 10 : whole(Math.round(value), of)} ${many}/${per}`;
}

/** Returns for how long it has gone on. */
export function elapsed(begun: number, now: number): string {
  return time(Math.max(0, Math.round((now - begun) / 1000)));
}

const time = (seconds: number) => (seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`);
