// Puts a compressed copy beside every asset, and refuses a page or a part of it that became too heavy.
import { readFile, readdir, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const KIB = 1024;
/** Most bytes, as they travel, of what is loaded before anything is shown. */
const FIRST_MAX = 110 * KIB;
/** Most bytes of a part that is loaded when it is wanted. */
const LAZY_MAX = 220 * KIB;

const index = await readFile("dist/index.html", "utf8");
const sizes = [];
for (const name of await readdir("dist/assets")) {
  if (!/\.(js|css|svg|json)$/.test(name)) continue;
  const packed = gzipSync(await readFile(`dist/assets/${name}`), { level: 9 });
  await writeFile(`dist/assets/${name}.gz`, packed);
  sizes.push({ name, bytes: packed.length, isFirst: index.includes(`assets/${name}`) });
}
const kib = (bytes) => `${(bytes / KIB).toFixed(1)} KiB`.padStart(10);
const first = sizes.filter(({ isFirst }) => isFirst).reduce((sum, { bytes }) => sum + bytes, 0);
for (const { name, bytes, isFirst } of sizes.toSorted((a, b) => b.bytes - a.bytes).slice(0, 12)) console.log(`${kib(bytes)} ${name}${isFirst ? " (first)" : ""}`);
console.log(`${kib(first)} loaded first, at most ${FIRST_MAX / KIB} KiB`);
console.log(`${kib(sizes.reduce((sum, { bytes }) => sum + bytes, 0))} in all ${sizes.length} assets`);
const heavy = sizes.filter(({ bytes, isFirst }) => !isFirst && bytes > LAZY_MAX);
for (const { name } of heavy) console.error(`${name} is more than ${LAZY_MAX / KIB} KiB`);
if (first > FIRST_MAX) console.error(`what is loaded first is more than ${FIRST_MAX / KIB} KiB`);
if (first > FIRST_MAX || heavy.length > 0) process.exit(1);
