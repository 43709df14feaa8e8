import { expect, test } from "vitest";
import { type WhatIf, KeptDraft } from "../../src/lib/draft.ts";

/** A tab's storage with room for so many letters a value. */
function storage(room = 1000) {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    removeItem: (key: string) => void kept.delete(key),
    setItem: (key: string, value: string) => {
      if (value.length > room) throw new DOMException("full", "QuotaExceededError");
      kept.set(key, value);
    },
  };
}
const impact = (rows: number) => ({ rows: Array.from({ length: rows }, () => ({ tenant: "acme" })) } as unknown as WhatIf);

test("a draft and its effect are kept, each kind by itself, and dropped together", () => {
  const place = storage();
  const [draft, other] = [new KeptDraft("policies", place), new KeptDraft("rate-cards", place)];
  draft.text = "version = 'a'";
  draft.effect = { text: "version = 'a'", at: "2026-11-28T12:00:00Z", impact: impact(1) };
  expect([draft.text, draft.effect?.impact, other.text, other.effect]).toEqual(["version = 'a'", impact(1), null, null]);
  draft.text = null;
  expect([draft.text, draft.effect]).toEqual([null, null]);
  draft.text = "version = 'a'";
  expect(draft.effect).toBeNull();
});

test("the effect of another text is none, and what is no effect neither", () => {
  const place = storage();
  const draft = new KeptDraft("policies", place);
  draft.text = "b";
  draft.effect = { text: "a", at: "", impact: null };
  expect(draft.effect).toBeNull();
  place.setItem("apportion.effect.policies", "{");
  expect(draft.effect).toBeNull();
});

test("an effect that is too large is asked for anew", () => {
  const draft = new KeptDraft("policies", storage(200));
  draft.text = "a";
  draft.effect = { text: "a", at: "now", impact: impact(100) };
  expect(draft.effect).toEqual({ text: "a", at: "now", impact: null });
});
