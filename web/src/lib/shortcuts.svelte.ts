// Whether keys without Ctrl act: who dictates, or hits keys by chance, turns them off (WCAG 2.1.4). Kept in this browser.

const KEY = "apportion.shortcuts";

class Shortcuts {
  areOn = $state(true);

  start(): void {
    this.areOn = localStorage.getItem(KEY) !== "off";
  }

  set(areOn: boolean): void {
    this.areOn = areOn;
    if (areOn) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, "off");
  }

  /** Returns whether the key is a letter or a sign that is to do nothing; arrows, Enter and Escape always act. */
  ignores = ({ key }: KeyboardEvent): boolean => !this.areOn && key.length === 1;
}

export const shortcuts = new Shortcuts();
