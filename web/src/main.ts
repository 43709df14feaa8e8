import { mount } from "svelte";
import App from "./App.svelte";
import { router } from "./lib/router.svelte.ts";
import { session } from "./lib/session.svelte.ts";
import { theme } from "./lib/theme.svelte.ts";
import "./style.css";

theme.start();
router.start();
void session.restore();
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void session.refresh();
});
const target = document.getElementById("app");
if (target) mount(App, { target });
