/** Light and dark: as the system has it, unless somebody chooses; the choice is kept for the next visit. */

const KEPT = "live-bars-theme";
const THEMES = ["auto", "light", "dark"];

/** What is kept under a name; nothing where the browser keeps nothing. */
function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage is forbidden: the choice lasts as long as the page
  }
}

function keep(theme) {
  try {
    localStorage.setItem(KEPT, theme);
  } catch {
    // as above
  }
}

/** Lets a select choose the theme; `onChange` is called whenever colours are others. */
export function themed(select, onChange) {
  const show = (theme) => {
    const chosen = THEMES.includes(theme) ? theme : "auto";
    select.value = chosen;
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    onChange();
  };
  select.addEventListener("change", () => {
    keep(select.value);
    show(select.value);
  });
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", onChange);
  }
  show(kept());
}

/** Whether somebody wants less to move. */
export function isCalm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
