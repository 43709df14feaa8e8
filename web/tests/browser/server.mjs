// The real binary in a temporary folder, on a free port: with demo data, or empty and below a base path.
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

/** What the binary prints once it serves: `demo` in two columns, `serve` in two sentences. */
const SAID = { url: /^(?:url|listening on)\s+(\S+)$/, token: /^(?:token|platform admin token, shown once:)\s+(\S+)$/ };

async function start(folder, args) {
  const { APPORTION_BIN } = process.env;
  if (!APPORTION_BIN) throw new Error("APPORTION_BIN names the binary to be tested; `scripts/test web` sets it");
  const child = spawn(APPORTION_BIN, [...args, "--listen", "127.0.0.1:0"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => (errors += text));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const said = {};
  await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      for (const [name, form] of Object.entries(SAID)) said[name] ??= form.exec(line)?.[1];
      if (said.url && said.token) resolve();
    });
    ended.then((code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
  });
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  return { ...said, folder, stop };
}

const temporary = () => mkdtemp(join(tmpdir(), "apportion-web-"));

/** Returns `{ url, token, folder, stop }` of a server with demo data. */
export async function startDemo({ tenants = 12, days = 30 } = {}) {
  const folder = await temporary();
  return start(folder, ["demo", "--tenants", String(tenants), "--days", String(days), "--folder", join(folder, "demo"), "--quiet"]);
}

/** Returns a server with demo data for tests that only read: that of the whole run, if there is one, which a file does not stop. */
export async function readDemo() {
  const { APPORTION_DEMO: shared } = process.env;
  return shared ? { ...JSON.parse(shared), stop: () => undefined } : startDemo();
}

/** Returns `{ url, token, folder, stop }` of a server without data, below a base path. */
export async function startEmpty(basePath) {
  const folder = await temporary();
  await writeFile(join(folder, "apportion.toml"), `[server]\nbase_path = "${basePath}"\nexporter_listen = "127.0.0.1:0"\n`);
  return start(folder, ["serve"]);
}

/** Returns what the command prints that asks this server. */
export async function command(server, args) {
  const remote = ["--server", server.url, "--token", server.token];
  const { stdout } = await promisify(execFile)(process.env.APPORTION_BIN, [...args, ...remote], { cwd: server.folder, maxBuffer: 64 << 20 });
  return stdout;
}

/** Asks the API of a server. */
export async function ask(server, path, { token = server.token, method = "GET", body } = {}) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(`${server.url}/api/v1${path}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  return answer.json();
}
