// The Grafana dashboard of `deploy/` against the types that Grafana publishes: whole, and panel by panel its options.
import ts from "typescript";
import { expect, test } from "vitest";

const DASHBOARD = "../deploy/grafana/provisioning/dashboards/costs.json";
/** Kinds of panels and the module of their own options. */
const PANELS: Record<string, string> = { stat: "Stat", timeseries: "TimeSeries", bargauge: "BarGauge", table: "Table" };
/** JSON has texts where the types have enumerations. */
const JSON_OF =
  "type Json<T> = T extends string ? `${T}` : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;";

type Panel = { id: number; type: string; title: string; options: object; fieldConfig: { defaults: { custom: object } } };
type Dashboard = { title: string; uid: string; panels: Panel[] };

const read = (): Dashboard => JSON.parse(ts.sys.readFile(DASHBOARD) ?? "null") as Dashboard;

/** The dashboard as a module that only compiles if it fits. */
function moduleOf(dashboard: Dashboard): string {
  const lines = ['import type { Dashboard } from "@grafana/schema";', JSON_OF];
  for (const [kind, name] of Object.entries(PANELS)) {
    lines.push(`import type * as ${name} from "@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen";`);
  }
  lines.push(`export const dashboard: Json<Dashboard> = ${JSON.stringify(dashboard)};`);
  for (const { id, type, options, fieldConfig } of dashboard.panels.filter((panel) => panel.type !== "row")) {
    const name = PANELS[type] ?? `unknown_kind_of_panel_${type}`;
    lines.push(`export const options${id}: Json<${name}.Options> = ${JSON.stringify(options)};`);
    const { custom } = fieldConfig.defaults;
    if (Object.keys(custom).length > 0) lines.push(`export const custom${id}: Json<${name}.FieldConfig> = ${JSON.stringify(custom)};`);
  }
  return lines.join("\n");
}

/** What the compiler says of a module that stands in this folder. */
function complaints(text: string): string[] {
  const path = `${ts.sys.getCurrentDirectory()}/tests/unit/dashboard-check.ts`;
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.getSourceFile = (name, version, ...rest) =>
    name === path ? ts.createSourceFile(name, text, version) : getSourceFile.call(host, name, version, ...rest);
  host.fileExists = (name) => name === path || fileExists.call(host, name);
  host.readFile = (name) => (name === path ? text : readFile.call(host, name));
  const found = ts.getPreEmitDiagnostics(ts.createProgram([path], options, host));
  return found.map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, " "));
}

test("the dashboard is what Grafana's types say a dashboard is", () => {
  const dashboard = read();
  expect(dashboard.title).toBe("Costs");
  expect(complaints(moduleOf(dashboard))).toEqual([]);
}, 60_000);

test("the check finds unknown keys, words and shapes", () => {
  const broken = read();
  const first = (kind: string) => broken.panels.find((panel) => panel.type === kind);
  Object.assign(first("stat")!.options, { colorMode: "rainbow" });
  Object.assign(first("bargauge")!.options, { spin: true });
  Object.assign(broken, { schemaVersion: "39" });
  const found = complaints(moduleOf(broken)).join("\n");
  for (const expected of ["rainbow", "spin", "number"]) expect(found).toContain(expected);
}, 60_000);

test("panels have ids of their own and do not overlap", () => {
  const { panels } = read() as unknown as { panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[] };
  expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length);
  const taken = new Set<string>();
  for (const { id, gridPos } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        expect(x, `panel ${id} stands in the 24 columns`).toBeLessThan(24);
        expect(taken.has(`${x} ${y}`), `panel ${id} at ${x} ${y}`).toBe(false);
        taken.add(`${x} ${y}`);
      }
    }
  }
});
