import { expect, test } from "vitest";
import { beyond, both, cut, filterOf, joined, narrowed, notOfUsage, only, termsOf, textsOf, without } from "../../src/lib/filter.ts";

test("terms are separated by spaces, but not by those inside quotes", () => {
  expect(textsOf("")).toEqual([]);
  expect(textsOf("  cluster:x   -tier:overhead ")).toEqual(["cluster:x", "-tier:overhead"]);
  expect(textsOf('pool:"a, b",c tenant:"say \\"hi\\" you"')).toEqual(['pool:"a, b",c', 'tenant:"say \\"hi\\" you"']);
  expect(textsOf('tenant:"not closed')).toEqual(['tenant:"not closed']);
});

test("one of the terms is taken away, also of two that are alike", () => {
  expect(cut("a:1 b:2 a:1", 2)).toBe("a:1 b:2");
  expect(cut('pool:"a b"', 0)).toBe("");
});

test("filters are joined, and none asks for none", () => {
  expect(joined("", "")).toBeUndefined();
  expect(joined("tenant:a", "", "-pool:x")).toBe("tenant:a -pool:x");
});

test("terms are those that the server reads", () => {
  expect(termsOf('tenant:acme,"b c" -pool:"x:y" label:"a b":"\\"q\\\\" memo:*').map(({ isNegated, key, values }) => [isNegated, key, values])).toEqual([
    [false, "tenant", ["acme", "b c"]], [true, "pool", ["x:y"]], [false, 'label:"a b"', ['"q\\']], [false, "memo", [null]],
  ]);
  expect(termsOf('pool:"a\\*b"')[0]?.values).toEqual(["a*b"]);
});

test("a key has one value only where the filter leaves one", () => {
  expect(only('pool:x tenant:"a b"', "tenant")).toBe("a b");
  expect(only('pool:""', "pool")).toBe("");
  for (const filter of ["", "tenant:a,b", "-tenant:a", "tenant:a*", undefined]) expect(only(filter, "tenant"), filter).toBeNull();
});

test("a part is asked for in place of what held all of them", () => {
  expect(narrowed("tenant:a,b pool:x", "tenant", "b")).toBe("pool:x tenant:b");
  expect(without("-tenant:a plan:team tenant:*", ["tenant"])).toBe("plan:team");
  expect(beyond("origin:snapshot -tenant:b tenant:a* tenant:acme", ["tenant"])).toBe("origin:snapshot -tenant:b tenant:a*");
  expect(both("", undefined, "a:b")).toBe("a:b");
});

test("a value is meant letter by letter", () => {
  expect(filterOf({ tenant: "acme" })).toBe("tenant:acme");
  expect(filterOf({ pool: ["a b", "c"] })).toBe('pool:"a b",c');
  expect(filterOf({ tenant: 'a*b"c\\d' })).toBe('tenant:"a\\*b\\"c\\\\d"');
});

test("what only entries have is told from what usage has, too", () => {
  expect(notOfUsage('-pool:a tenant:b "tier":x label:pool:c meter:d')).toEqual(["-pool:a", '"tier":x']);
});
