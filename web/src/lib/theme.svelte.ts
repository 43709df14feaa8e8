// Light, dark, or what the system says.

const KEY = "apportion.theme";
export type Theme = "system" | "light" | "dark";
const ALL: readonly Theme[] = ["system", "light", "dark"];

class ThemeChoice {
  value = $state<Theme>("system");

  start(): void {
    const stored = localStorage.getItem(KEY);
    this.set(ALL.find((theme) => theme === stored) ?? "system");
  }

  set(theme: Theme): void {
    this.value = theme;
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
    document.documentElement.dataset.theme = theme;
  }

  next(): void {
    this.set(ALL[(ALL.indexOf(this.value) + 1) % ALL.length] ?? "system");
  }
}

export const theme = new ThemeChoice();
