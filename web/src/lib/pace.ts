// How fast long work goes and when it ends. Counts and seconds only: no money.

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

/** Returns the progress as a line: `30 of 90 days, 60 s, 30 days/min, about 2 min left`. `one` is what is counted. */
export function paceText({ done, total, begun, now }: Progress, one: string): string {
  const many = `${one}s`;
  const seconds = Math.max(0, Math.round((now - begun) / 1000));
  const counted = `${done}${total > 0 ? ` of ${total}` : ""} ${done === 1 && total <= 1 ? one : many}`;
  if (done === 0 || seconds === 0) return `${counted}, ${time(seconds)}`;
  const left = done < total ? `, about ${time(Math.ceil((seconds / done) * (total - done)))} left` : "";
  return `${counted}, ${time(seconds)}, ${rate(done / seconds, many)}${left}`;
}

/** Per second from one a second on, per minute below that. */
function rate(each: number, many: string): string {
  const [value, per] = each >= 1 ? [each, "s"] : [each * 60, "min"];
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ${many}/${per}`;
}

/** Returns for how long it has gone on. */
export function elapsed(begun: number, now: number): string {
  return time(Math.max(0, Math.round((now - begun) / 1000)));
}

const time = (seconds: number) => (seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`);
