/** What colours the pages have: those of the system, unless somebody chose. */
export type Theme = "system" | "light" | "dark";

const PLACE = "bsgateway.theme";

export function storedTheme(): Theme {
  const stored = read();
  return stored === "light" || stored === "dark" ? stored : "system";
}

export function storeTheme(theme: Theme): void {
  try {
    if (theme === "system") localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, theme);
  } catch {
    // A browser that keeps nothing: the choice holds until the page is left.
  }
}

/** Sets what tokens.css goes by. */
export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function read(): string | null {
  try {
    return localStorage.getItem(PLACE);
  } catch {
    return null; // storage is forbidden here: the system's theme
  }
}
