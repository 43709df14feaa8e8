// The pages: their addresses, who may see them, where they stand in the navigation. The server decides again on every request.

import type { Component } from "svelte";
import type { Client, Settings } from "./api.ts";

export interface PageProps {
  client: Client;
  settings: Settings;
  /** What varies in the address. */
  id: string;
}

export type Role = "platform_admin" | "finance" | "admin" | "tenant_owner" | "tenant_viewer";
const PLATFORM: readonly Role[] = ["platform_admin"];
const FINANCE: readonly Role[] = ["platform_admin", "finance"];
const READERS: readonly Role[] = ["platform_admin", "finance", "admin"];
const ALL: readonly Role[] = [...READERS, "tenant_owner", "tenant_viewer"];

export interface PageOf {
  /** Address; one that ends with `/` has a name behind it and stands in no menu. */
  path: string;
  title: string;
  group: string;
  /** Second key after `g`. */
  key?: string;
  roles: readonly Role[];
  load: () => Promise<{ default: Component<PageProps> }>;
}

export const PAGES: readonly PageOf[] = [
  { path: "/", title: "Overview", group: "Platform", key: "o", roles: READERS, load: () => import("../pages/Overview.svelte") },
  { path: "/platform/cost", title: "Cost", group: "Platform", key: "c", roles: ALL, load: () => import("../pages/PlatformCost.svelte") },
  { path: "/clusters", title: "Clusters", group: "Platform", key: "k", roles: READERS, load: () => import("../pages/Clusters.svelte") },
  { path: "/unit-costs", title: "Unit costs", group: "Platform", key: "n", roles: READERS, load: () => import("../pages/UnitCosts.svelte") },
  { path: "/overhead", title: "Overhead", group: "Platform", key: "h", roles: READERS, load: () => import("../pages/Overhead.svelte") },
  { path: "/flow", title: "Flow", group: "Platform", key: "f", roles: READERS, load: () => import("../pages/Flow.svelte") },
  { path: "/ledger", title: "Ledger", group: "Books", key: "l", roles: READERS, load: () => import("../pages/Ledger.svelte") },
  { path: "/close", title: "Month-end", group: "Books", key: "m", roles: FINANCE, load: () => import("../pages/Close.svelte") },
  { path: "/data", title: "Data", group: "Books", key: "d", roles: READERS, load: () => import("../pages/Data.svelte") },
  { path: "/rates", title: "Rate cards", group: "Rules", key: "r", roles: READERS, load: () => import("../pages/Rates.svelte") },
  { path: "/policies", title: "Policies", group: "Rules", key: "p", roles: READERS, load: () => import("../pages/Policies.svelte") },
  { path: "/settings/usage", title: "Usage", group: "Settings", key: "u", roles: ALL, load: () => import("../pages/SettingsUsage.svelte") },
  { path: "/settings/tenants", title: "Tenants", group: "Settings", key: "t", roles: READERS, load: () => import("../pages/SettingsTenants.svelte") },
  { path: "/settings/tokens", title: "Tokens", group: "Settings", key: "y", roles: PLATFORM, load: () => import("../pages/SettingsTokens.svelte") },
  { path: "/audit", title: "Audit", group: "Settings", key: "a", roles: PLATFORM, load: () => import("../pages/Audit.svelte") },
  { path: "/tenants/", title: "Tenant", group: "", roles: ALL, load: () => import("../pages/Tenant.svelte") },
  { path: "/clusters/", title: "Cluster", group: "", roles: READERS, load: () => import("../pages/Cluster.svelte") },
];

/** Returns the page of an address and what varies in it, or null. */
export function pageAt(path: string): { page: PageOf; id: string } | null {
  const plain = path.replace(/\/+$/, "") || "/";
  const exact = PAGES.find((page) => page.path === plain);
  if (exact) return { page: exact, id: "" };
  const named = PAGES.find((page) => page.path !== "/" && page.path.endsWith("/") && plain.startsWith(page.path));
  const rest = named ? plain.slice(named.path.length) : "";
  if (!named || rest === "" || rest.includes("/")) return null;
  try {
    return { page: named, id: decodeURIComponent(rest) };
  } catch {
    return null;
  }
}

/** Returns whether the role sees the page at all. */
export function may(role: string, page: PageOf): boolean {
  return page.roles.some((known) => known === role);
}

/** Returns whether the role enters invoices and adjustments and says which bills are final. */
export function keepsBooks(role: string): boolean {
  return FINANCE.some((known) => known === role);
}

export interface Entry {
  href: string;
  title: string;
  key?: string | undefined;
}

/** Returns the menu of a role, by group; hrefs are below the base path. */
export function menuOf(settings: Settings): { group: string; entries: Entry[] }[] {
  const own = settings.tenants ?? [];
  const isReader = READERS.some((role) => role === settings.role);
  const groups = new Map<string, Entry[]>();
  if (!isReader) groups.set("Own cost", own.slice(0, 8).map((id) => ({ href: tenantPage(id), title: id })));
  for (const page of PAGES) {
    const isShown = page.group !== "" && may(settings.role, page) && (page.path !== "/platform/cost" || settings.role === "platform_admin");
    // A token of no tenant has no usage of its own; the platform's admin keeps the page to see what others see.
    if (!isShown || (page.path === "/settings/usage" && isReader && settings.role !== "platform_admin")) continue;
    const entries = groups.get(page.group) ?? [];
    const title = page.path === "/settings/tenants" ? `${capital(settings.organisation.tenant_word)}s` : page.title;
    groups.set(page.group, [...entries, { href: page.path.slice(1), title, key: page.key }]);
  }
  return [...groups].filter(([, entries]) => entries.length > 0).map(([group, entries]) => ({ group, entries }));
}

/** Returns the first page of a role. */
export function firstPage(role: string): string {
  return READERS.some((known) => known === role) ? "/" : "/settings/usage";
}

/** Returns the address of a tenant's page, below the base path. */
export function tenantPage(id: string): string {
  return `tenants/${encodeURIComponent(id)}`;
}

/** Returns the address of a cluster's page, below the base path. */
export function clusterPage(name: string): string {
  return `clusters/${encodeURIComponent(name)}`;
}

/** Returns an address of ours with the state of the ledger that it is to show and what is filtered; without both, as it is. */
export function atState(path: string, asOf: string | undefined, filter = ""): string {
  const query = [asOf === undefined ? "" : `asof=${encodeURIComponent(asOf)}`, filter === "" ? "" : `f=${encodeURIComponent(filter).replaceAll("%3A", ":")}`];
  const text = query.filter(Boolean).join("&");
  return text === "" ? path : `${path}${path.includes("?") ? "&" : "?"}${text}`;
}

const capital = (word: string) => word.slice(0, 1).toLocaleUpperCase() + word.slice(1);
