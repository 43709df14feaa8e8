import { expect, test } from "vitest";
import { joined, notOfUsage, term, termsOf, without } from "../../src/lib/filter.ts";

test("terms are separated by spaces, but not by those inside quotes", () => {
  expect(termsOf("")).toEqual([]);
  expect(termsOf("  cluster:x   -tier:overhead ")).toEqual(["cluster:x", "-tier:overhead"]);
  expect(termsOf('pool:"a, b",c tenant:"say \\"hi\\" you"')).toEqual(['pool:"a, b",c', 'tenant:"say \\"hi\\" you"']);
  expect(termsOf('tenant:"not closed')).toEqual(['tenant:"not closed']);
});

test("one of the terms is taken away, also of two that are alike", () => {
  expect(without("a:1 b:2 a:1", 2)).toBe("a:1 b:2");
  expect(without('pool:"a b"', 0)).toBe("");
});

test("filters are joined, and none asks for none", () => {
  expect(joined("", "")).toBeUndefined();
  expect(joined("tenant:a", "", "-pool:x")).toBe("tenant:a -pool:x");
});

test("a value is meant letter by letter", () => {
  expect(term("tenant", "acme")).toBe('tenant:"acme"');
  expect(term("pool", "a b", "c")).toBe('pool:"a b","c"');
  expect(term("tenant", 'a*b"c\\d')).toBe('tenant:"a\\*b\\"c\\\\d"');
});

test("what only entries have is told from what usage has, too", () => {
  expect(notOfUsage('-pool:a tenant:b "tier":x label:pool:c meter:d')).toEqual(["-pool:a", '"tier":x']);
});
