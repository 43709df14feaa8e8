import { mount } from "svelte";
import App from "./App.svelte";
import { copyExact } from "./lib/copy.ts";
import { print } from "./lib/print.svelte.ts";
import { router } from "./lib/router.svelte.ts";
import { session } from "./lib/session.svelte.ts";
import { shortcuts } from "./lib/shortcuts.svelte.ts";
import { theme } from "./lib/theme.svelte.ts";
import "./style.css";

theme.start();
shortcuts.start();
print.start();
router.start();
void session.restore();
document.addEventListener("copy", copyExact);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void session.refresh();
});
const target = document.getElementById("app");
if (target) mount(App, { target });
