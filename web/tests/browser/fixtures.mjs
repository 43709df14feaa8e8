// Answers of the API for the pages' own tests, made from one set of snapshots, exactly as the interface describes them.

const METRICS = ["member_count", "api_call_count_24h", "storage_bytes", "change_count_24h", "incident_count_24h", "monitored_host_count", "audit_event_count_24h", "webhook_delivery_count_24h", "celery_task_count_24h"];
/** The starter card in 10^-9 USD per unit; a byte is 10^-9 of a gigabyte. */
const PRICES = { member_count: 5_000_000_000n, storage_bytes: null, api_call_count_24h: 2_000n, celery_task_count_24h: 100_000n, monitored_host_count: 500_000_000n, webhook_delivery_count_24h: 50_000n };
const NAMES = ["Acme", "Globex", "Initech", "Umbrella", "Hooli", "Stark Industries", "Wayne Enterprises", "Wonka", "Cyberdyne", "Tyrell", "Soylent", "Massive Dynamic", "Pied Piper", "Vandelay", "Oscorp", "Aperture Science", "Black Mesa", "Duff", "Krusty", "Monsters & Sons <b>", "Nakatomi Trading Corporation of the Americas", "Gringotts", "Weyland", "Bluth"];
const DAY_MS = 86_400_000;

const at = (day) => Math.round(Date.parse(`${day}T00:00:00Z`) / DAY_MS);
const plus = (day, days) => new Date((at(day) + days) * DAY_MS).toISOString().slice(0, 10);
const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
/** A number in 0..range that depends on nothing but its arguments. */
function noise(seed, range) {
  let x = (seed * 2654435761) >>> 0;
  x ^= x >>> 13;
  x = Math.imul(x, 1274126177) >>> 0;
  return ((x ^ (x >>> 16)) >>> 0) % range;
}
/** 10^-18 USD as decimal text. */
function text(units) {
  const digits = (units < 0n ? -units : units).toString().padStart(19, "0");
  const fraction = digits.slice(-18).replace(/0+$/, "").padEnd(2, "0");
  return `${units < 0n ? "-" : ""}${digits.slice(0, -18)}.${fraction}`;
}

/** The one workspace with a runaway metric, and the day on which it begins. */
export const RUNAWAY = { id: "initech", metric: "api_call_count_24h" };

export class Fixture {
  constructor({ today = "2026-11-28", tenants = 24, role = "platform_admin", own = null, withToday = true, isEmpty = false, through = plus(today, -1), pending = null } = {}) {
    // The ledger ends with `through` and has a day that may change.
    Object.assign(this, { today, role, own, withToday, isEmpty, through, pending });
    this.runawayDay = plus(today, -9);
    this.tenants = Array.from({ length: tenants }, (_, index) => {
      const name = NAMES[index] ?? `Workspace ${index + 1}`;
      return { id: slug(name), name, slug: slug(name), plan: "team", status: "active", aliases: [], owners: [], billing_mode: "showback", entered_by: "put", created_at: "2026-01-01T00:00:00Z" };
    });
    this.calls = [];
    this.known = new Map();
    this.cancelled = new Promise((resolve) => (this.cancel = resolve));
  }

  metricsOf(index, day) {
    const size = BigInt(Math.max(1, Math.round(240 / (1 + index * 0.55))));
    const age = BigInt(at(day) - at("2026-01-01"));
    const seed = index * 977 + at(day) * 31;
    const runaway = this.tenants[index].id === RUNAWAY.id && day >= this.runawayDay ? 40n : 1n;
    return {
      member_count: size / 2n + 3n + age / 60n,
      api_call_count_24h: (size * 21_000n + BigInt(noise(seed, 40_000))) * runaway,
      storage_bytes: size * 1_900_000_000n + age * size * 11_000_000n + BigInt(noise(seed + 1, 90_000_000)),
      change_count_24h: BigInt(noise(seed + 2, 90)),
      incident_count_24h: BigInt(noise(seed + 3, 4)),
      monitored_host_count: size + BigInt(noise(seed + 4, 3)),
      audit_event_count_24h: size * 90n + BigInt(noise(seed + 5, 900)),
      webhook_delivery_count_24h: size * 40n + BigInt(noise(seed + 6, 300)),
      celery_task_count_24h: size * 700n + BigInt(noise(seed + 7, 4_000)),
    };
  }

  hasDay(day) {
    return !this.isEmpty && day <= this.today && day >= plus(this.today, -400) && (this.withToday || day < this.today);
  }

  days(from, to) {
    const found = [];
    for (let day = from; day <= to; day = plus(day, 1)) if (this.hasDay(day)) found.push(day);
    return found;
  }

  /** Cost of a day in 10^-18 USD; what is posted lags a little behind the current card. */
  cost(index, day, view) {
    const key = `${index} ${day} ${view}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const metrics = this.metricsOf(index, day);
    let sum = metrics.storage_bytes * 100_000_000n;
    for (const [metric, price] of Object.entries(PRICES)) if (price !== null) sum += metrics[metric] * price * 1_000_000_000n;
    if (view === "posted") sum = (sum * 104n) / 100n;
    this.known.set(key, sum);
    return sum;
  }

  sum(index, from, to, view) {
    return this.days(from, to).reduce((sum, day) => sum + this.cost(index, day, view), 0n);
  }

  costs(query) {
    const { from, to, view = "posted", group_by: by = "tenant", granularity, compare, names, limit = "100" } = query;
    const isPosted = view === "posted";
    const last = isPosted && this.through < to ? this.through : to;
    const pending = isPosted && this.pending !== null && from <= this.pending && this.pending <= to ? [this.pending] : [];
    // What is not over, not posted or not final is left out of a change.
    const end = compare === "final" ? [last, plus(this.today, -1), ...pending.map((day) => plus(day, -1))].toSorted()[0] : to;
    const before = compare && from <= end ? { from: plus(from, at(from) - at(end) - 1), to: plus(from, -1) } : null;
    const named = /(?:^| )tenant:(\S+)/.exec(query.filter ?? "")?.[1].replaceAll('"', "").split(",") ?? null;
    const chosen = this.tenants.map((_, index) => index).filter((index) => (this.own === null || this.own.includes(this.tenants[index].id)) && (named?.includes(this.tenants[index].id) ?? true));
    if (by === "status" && pending.length > 0) return { rows: [{ key: { status: "pending" }, cost: "1.00", series: [[this.pending, "1.00"], [plus(this.pending, 1), "0.00"]] }] };
    const groups = by === "tenant" ? chosen.map((index) => [this.tenants[index].id, [index]]) : [[by === "memo" ? "true" : "snapshot", chosen]];
    const sumOf = (indexes, first, end) => indexes.reduce((sum, index) => sum + this.sum(index, first, end, view), 0n);
    const total = sumOf(chosen, from, last);
    const rows = (this.isEmpty ? [] : groups).map(([key, indexes]) => {
      const cost = sumOf(indexes, from, last);
      const row = { key: { [by]: key }, cost: text(cost), pending: "0.00", share: total > 0n ? text(((cost * 1_000_000n) / total) * 1_000_000_000_000n).padEnd(8, "0") : null };
      if (names === "true" && by === "tenant") Object.assign(row, { name: this.tenants[indexes[0]].name, slug: this.tenants[indexes[0]].slug });
      if (before) {
        const previous = sumOf(indexes, before.from, before.to);
        Object.assign(row, { previous: text(previous), change: text(sumOf(indexes, from, end < last ? end : last) - previous) });
      }
      if (granularity === "day") row.series = this.days(from, last).map((day) => [day, text(indexes.reduce((sum, index) => sum + this.cost(index, day, view), 0n))]);
      if (view === "current_rates") row.usage = Object.fromEntries(METRICS.map((metric) => [metric, String(this.usage(indexes, metric, from, to))]));
      return { cost, row };
    });
    rows.sort((a, b) => (a.cost < b.cost ? 1 : a.cost > b.cost ? -1 : 0));
    return {
      rows: rows.slice(0, Number(limit)).map(({ row }) => row),
      totals: { cost: text(total), memo: "0.00" },
      meta: { range: { from, to, timezone: "UTC" }, ...(before ? { compared: { range: { from, to: end, timezone: "UTC" }, previous: { ...before, timezone: "UTC" } } } : {}), currency: "USD", view, as_of: null, data_through: isPosted ? last : to, pending_days: pending.length, policy_versions: ["default"], posting: 41, ...(isPosted ? {} : { rate_card_version: "starter", posted: text((total * 98n) / 100n), posted_memo: text((total * 104n) / 100n), calibration: "0.98", price_warnings: [], unknown_keys: [] }), unpriced_metrics: isPosted ? [] : ["change_count_24h", "incident_count_24h", "audit_event_count_24h"] },
      next_cursor: null,
    };
  }

  usage(indexes, metric, from, to) {
    const days = this.days(from, to);
    const counted = metric.endsWith("_24h") ? days : days.slice(-1);
    return indexes.reduce((sum, index) => counted.reduce((part, day) => part + this.metricsOf(index, day)[metric], sum), 0n);
  }

  snapshots(query) {
    const { from, to, tenant, limit = "100", cursor = "0" } = query;
    const key = `${from} ${to} ${tenant} ${this.withToday}`;
    const rows = this.known.get(key) ?? this.measured(from, to, tenant);
    this.known.set(key, rows);
    const start = Number(cursor);
    const end = start + Number(limit);
    return { rows: rows.slice(start, end), next_cursor: end < rows.length ? String(end) : null };
  }

  measured(from, to, tenant) {
    return this.days(from, to).flatMap((day) => this.tenants.flatMap(({ id }, index) => {
      if ((tenant && tenant !== id) || (this.own !== null && !this.own.includes(id))) return [];
      const metrics = Object.fromEntries(Object.entries(this.metricsOf(index, day)).map(([name, value]) => [name, String(value)]));
      const degraded = index === 4 && day === plus(this.today, -2);
      return [{ tenant: id, snapshot_date: day, source: "app", metrics, quality: Object.fromEntries(METRICS.map((name) => [name, degraded && name === "storage_bytes" ? "degraded" : "ok"])), taken_at: `${day}T00:10:04Z` }];
    }));
  }

  settings() {
    return {
      role: this.role,
      tenants: this.own,
      organisation: { name: "Demo", timezone: "UTC", reporting_currency: "USD", tenant_word: "workspace" },
      today: this.today,
      snapshot: "00:10",
      tenant_links: [{ label: "Integrations", url: "https://app.example/{slug}/integrations" }, { label: "Not shown", url: "javascript:alert(1)" }],
      version: "0.1.0",
    };
  }

  /** A run is under way until its stream of events was read to the end, which may wait until it is cancelled. */
  async answerRuns(route, path, query, json) {
    const run = (status) => ({ id: "snap-1", status, date: this.today, tenants: status === "running" ? 0 : 23, failed: [{ source: "app", tenant: "bluth", reason: "statement timeout" }], failed_total: 1, degraded: 0, warnings: [], requested_by: "tok-1", created_at: `${this.today}T15:00:00Z` });
    if (path === "/snapshots/runs") return json({ rows: this.running ? [run("running")] : [], next_cursor: null });
    if (path === "/snapshots/run") {
      this.running = true;
      return json(run("running"), 202);
    }
    if (path.endsWith("/cancel")) {
      this.running = false;
      this.cancel();
      return json(run("running"), 202);
    }
    const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
    if (this.untilCancelled) {
      await this.cancelled;
      return route.fulfill({ status: 200, contentType: "text/event-stream", body: event("done", { ...run("cancelled"), failed: [], failed_total: 0, tenants: 0, error: "cancelled by tok-1" }) });
    }
    [this.withToday, this.isEmpty, this.running] = [true, false, false];
    const progress = [8, 16, 24].map((done) => event("progress", { id: "snap-1", status: "running", done, total: 24 }));
    return route.fulfill({ status: 200, contentType: "text/event-stream", body: progress.join("") + event("done", run("succeeded")) });
  }

  csv({ from, to }) {
    const head = `workspace_slug,workspace_name,snapshot_date,${METRICS.join(",")},cost_usd`;
    const lines = this.days(from, to).flatMap((day) => this.tenants.map(({ slug: name }, index) => [name, name, day, ...METRICS.map((metric) => this.metricsOf(index, day)[metric]), text(this.cost(index, day))].join(",")));
    return [head, ...lines].join("\n");
  }

  /** Answers the page's requests to the API. */
  async answer(route) {
    const url = new URL(route.request().url());
    const query = Object.fromEntries(url.searchParams);
    const path = url.pathname.replace(/^.*\/api\/v1/, "");
    this.calls.push(`${route.request().method()} ${path}`);
    const json = (body, status = 200) => route.fulfill({ status, contentType: status < 400 ? "application/json" : "application/problem+json", body: JSON.stringify(body) });
    const refusal = { code: "platform_admin_required", title: "Platform admin required", status: 403, detail: "only a platform admin may do this", request_id: "req-1" };
    const foreign = this.role !== "platform_admin" && this.own === null;
    if (path === "/settings") return json(this.settings());
    if (foreign) return json(refusal, 403);
    if (path === "/costs") return json(this.costs(query));
    if (path === "/snapshots") return json(this.snapshots(query));
    if (path === "/schedule") return json({ rows: [{ job: "snapshot", at: "00:10", timezone: "UTC", next_run_at: "2026-11-29T00:10:00Z", attempts: 0 }], next_cursor: null });
    if (path.startsWith("/snapshots/run")) return this.answerRuns(route, path, query, json);
    if (path === "/exports/usage.csv") {
      const compact = (day) => day.replaceAll("-", "");
      return route.fulfill({ status: 200, contentType: "text/csv", headers: { "content-disposition": `attachment; filename="vigilo-usage-${compact(query.from)}-${compact(query.to)}.csv"` }, body: this.csv(query) });
    }
    return json({ code: "not_found", title: "Not found", status: 404, detail: path, request_id: "req-2" }, 404);
  }
}
