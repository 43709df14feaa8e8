import { expect, test } from "vitest";
import { openPeriods } from "../../src/lib/estimated.ts";

const period = (source: string, billing_period: string, billing_account = "1") => ({ source, billing_account, billing_period });

test("open bills are named once each, the first three of many; a tenant learns only that there are some", () => {
  const said = (...estimated_periods: ReturnType<typeof period>[]) => openPeriods({ estimated: true, estimated_periods });
  expect(said(period("aws", "2026-10"))).toBe("estimated: aws October 2026 is still open");
  expect(said(period("aws", "2026-10"), period("aws", "2026-10", "2"))).toBe("estimated: aws October 2026 is still open");
  expect(said(period("aws", "2026-10"), period("aws", "2026-11"))).toBe("estimated: aws October 2026 and aws November 2026 are still open");
  const many = ["a", "b", "c", "d", "e"].map((source) => period(source, "2026-11"));
  expect(said(...many)).toBe("estimated: a November 2026, b November 2026, c November 2026 and 2 more are still open");
  expect(openPeriods({ estimated: true })).toBe("estimated: a bill of these days is still open");
});
