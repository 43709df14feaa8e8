// Puts a compressed copy beside every asset, and refuses a page that became too heavy.
import { readFile, readdir, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

/** Most bytes of all assets as they travel: the whole application is the first page. */
const BYTES_MAX = 110 * 1024;

let total = 0;
for (const name of await readdir("dist/assets")) {
  if (!/\.(js|css|svg|json)$/.test(name)) continue;
  const packed = gzipSync(await readFile(`dist/assets/${name}`), { level: 9 });
  await writeFile(`dist/assets/${name}.gz`, packed);
  total += packed.length;
}
console.log(`assets: ${(total / 1024).toFixed(1)} KiB compressed`);
if (total > BYTES_MAX) {
  console.error(`more than ${BYTES_MAX / 1024} KiB`);
  process.exit(1);
}
