import { expect, test } from "vitest";
import { type SortColumn, clicked, parseSort, sortText, sorted } from "../../src/lib/sort.ts";

interface Row { name: string; cost: string | null; calls?: string }
const COLUMNS: SortColumn<Row>[] = [
  { id: "workspace", isText: true, value: (row) => row.name },
  { id: "cost", isText: false, value: (row) => row.cost },
  { id: "calls", isText: false, value: (row) => row.calls },
];
const names = (rows: Row[]) => rows.map(({ name }) => name).join(" ");
const by = (rows: Row[], text: string) => names(sorted(rows, parseSort(text, COLUMNS.map(({ id }) => id), []), COLUMNS, ({ name }) => name));

test("numbers are sorted as decimals, names as words with their numbers", () => {
  const rows = [{ name: "team 10", cost: "9.5" }, { name: "Team 9", cost: "10.25" }, { name: "äpfel", cost: "-1" }];
  expect(by(rows, "-cost")).toBe("Team 9 team 10 äpfel");
  expect(by(rows, "cost")).toBe("äpfel team 10 Team 9");
  expect(by(rows, "workspace")).toBe("äpfel Team 9 team 10");
});

test("rows without a value come last in both directions", () => {
  const rows = [{ name: "a", cost: null }, { name: "b", cost: "0" }, { name: "c", cost: "-4" }];
  expect(by(rows, "cost")).toBe("c b a");
  expect(by(rows, "-cost")).toBe("b c a");
});

test("further columns break ties, and names break the rest", () => {
  const rows = [{ name: "c", cost: "1", calls: "5" }, { name: "b", cost: "1.00", calls: "7" }, { name: "a", cost: "1", calls: "5" }];
  expect(by(rows, "-cost,-calls")).toBe("b a c");
});

test("decimals of any length are compared to their last digit, and rows that are alike stay by name", () => {
  const rows = [{ name: "d", cost: "1.0000000000000000001" }, { name: "c", cost: "1" }, { name: "a", cost: "1.00" }, { name: "b", cost: "-0.5" }];
  expect(by(rows, "cost")).toBe("b a c d");
  expect(by(rows, "-cost")).toBe("d a c b");
});

test("a click sorts by one column, with Shift by one more, and a second click turns it", () => {
  const cost = [{ column: "cost", descending: true }];
  expect(sortText(clicked(cost, "cost", false, false))).toBe("cost");
  expect(sortText(clicked(cost, "workspace", true, false))).toBe("workspace");
  expect(sortText(clicked(cost, "calls", false, true))).toBe("-cost,-calls");
  expect(sortText(clicked(cost, "cost", false, true))).toBe("cost");
});

test("an address with unknown or doubled columns sorts as usual", () => {
  const usual = [{ column: "cost", descending: true }];
  const columns = ["workspace", "cost"];
  expect(parseSort("-nothing", columns, usual)).toEqual(usual);
  expect(parseSort(null, columns, usual)).toEqual(usual);
  expect(sortText(parseSort("-cost,cost,workspace", columns, usual))).toBe("-cost,workspace");
});
