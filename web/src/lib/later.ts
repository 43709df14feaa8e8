// Answers of routes whose types are not in the generated description yet, written from the server's own types.
// Take them from `schema.d.ts` once they are there.

import type { components } from "./schema.d.ts";

type Schemas = components["schemas"];
export interface Obstacle {
  code: string;
  about: string;
  detail: string;
}
export interface SourcePeriod {
  source: string;
  billing_account: string;
  billing_period: string;
  state: string;
  said_by: string;
  actor?: string | null;
  note?: string | null;
  lines: number;
  imported_at?: string | null;
}
export interface PendingCorrection {
  date: string;
  pool: string;
  consumers: { consumer: string; amount_reporting: string; billed_amount: Record<string, string> }[];
}
/** A row of `GET /periods`. */
export interface Period {
  month: string;
  state: string;
  closes: number;
  posting?: number | null;
  changed_at?: string | null;
  changed_by?: string | null;
  reason?: string | null;
  forced: Obstacle[];
  is_next: boolean;
  obstacles: Obstacle[];
  notes: Obstacle[];
  pending_corrections: PendingCorrection[];
  sources: SourcePeriod[];
}
/** `POST /periods/{month}/close` and `/reopen`. */
export interface PeriodChanged {
  month: string;
  state: string;
  posting: number;
  booked_at: string;
  forced: Obstacle[];
}
/** A row of `GET /statements`. */
export interface StatementSummary {
  number: string;
  month: string;
  version: number;
  posting: number;
  closed_at: string;
  ledger_head: string;
  json_sha256: string;
  csv_sha256: string;
  journal_sha256: string;
}
/** A row of `GET /reconciliation`. */
export interface Reconciliation {
  source: string;
  billing_period: string;
  invoice_id?: string | null;
  currency: string;
  invoice_total?: string | null;
  billed: string;
  attributed: string;
  not_yet_due: string;
  effective: string;
  invoice_difference?: string | null;
  attribution_difference: string;
  estimated: boolean;
  state: string;
  mark: string;
}
export interface ChangeTerm {
  term: string;
  amount: string;
}
/** `GET /costs/changes`. */
export interface CostChanges {
  tenant: string;
  range: { from: string; to: string };
  compare: { from: string; to: string };
  currency: string;
  previous: string;
  cost: string;
  change: string;
  terms: ChangeTerm[];
  pools: { pool: string; previous: string; cost: string; change: string; terms: ChangeTerm[]; disclosed: boolean }[];
}
/** `POST /policies/simulate` and `POST /rate-cards/simulate?view=posted`. */
export interface WhatIf {
  rows: { tenant: string; posted: string; cost: string; change: string; posted_memo: string; cost_memo: string; change_memo: string }[];
  rows_total: number;
  totals: { posted: string; cost: string; change: string; posted_memo: string; cost_memo: string; change_memo: string };
  range: { from: string; to: string };
  currency: string;
  version: string;
  warnings: Schemas["RunWarningBody"][];
  not_run: number;
  due_days: string[];
}
/** What the rule of a pool says, in an explanation. */
export interface ExplainedRule {
  by: string[];
  weights: Record<string, string>;
  meter?: string | null;
  of: string[];
  follow?: string | null;
  percent?: string | null;
  idle?: string | null;
  prices: { meter: string; key: string; divisor: number; labels: Record<string, string>; price: string; per: string }[];
}
/** Sources that are read bit by bit say what they are at. */
export type Source = Schemas["SourceBody"] & { progress?: string | null };
