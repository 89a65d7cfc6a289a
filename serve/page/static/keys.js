/** The keyboard in the chart: bar by bar, zoom, the newest, pause. */

/** What a key does in the chart; null where it does nothing there. Pure. */
export function actionOf({ key, ctrlKey, altKey, metaKey }) {
  if (ctrlKey || altKey || metaKey) return null;
  const actions = {
    ArrowLeft: { move: -1 },
    ArrowRight: { move: 1 },
    PageUp: { move: -20 },
    PageDown: { move: 20 },
    Home: { move: -Infinity },
    End: { move: Infinity },
    Escape: { leave: true },
    "+": { zoom: 0.75 },
    "=": { zoom: 0.75 },
    "-": { zoom: 4 / 3 },
    p: { pause: true },
    P: { pause: true },
    " ": { pause: true },
  };
  return actions[key] ?? null;
}

/** Where the cursor is after a move: at a bar that exists, or at the last one where it was nowhere. Pure. */
export function moved(at, by, length) {
  if (!length) return -1;
  if (at < 0) return by === -Infinity ? 0 : length - 1;
  return Math.min(Math.max(at + by, 0), length - 1);
}

/** Calls what takes the actions, while an element has the focus. */
export function listen(element, take) {
  element.addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    take(action);
  });
}
