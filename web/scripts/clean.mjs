// Empties `dist`, but for the file that git keeps there.
import { readdir, rm } from "node:fs/promises";

for (const name of await readdir("dist")) {
  if (name !== ".gitignore") await rm(`dist/${name}`, { recursive: true });
}
