// `npm run browser`: the files one after the other. Those that only read share one server with demo data, made once.
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { once } from "node:events";
import { startDemo } from "./server.mjs";

const here = import.meta.dirname;
const named = process.argv.slice(2);
const files = named.length > 0 ? named : (await readdir(here)).filter((name) => name.endsWith(".test.mjs")).toSorted().map((name) => `${here}/${name}`);
const { stop, ...demo } = await startDemo();
try {
  const env = { ...process.env, APPORTION_DEMO: JSON.stringify(demo) };
  const tests = spawn(process.execPath, ["--test", "--test-concurrency=1", "--test-reporter=spec", ...files], { stdio: "inherit", env });
  const [code] = await once(tests, "exit");
  process.exitCode = code ?? 1;
} finally {
  await stop();
}
