/** Wiring alone: the page's elements, the chart library if it is there, and the app. */

import { App } from "./app.js";
import { Chart, colorsOf } from "./chart.js";
import { themed } from "./theme.js";
import { View } from "./view.js";

const view = new View(document);
const app = new App(view);
const root = document.documentElement;

app.start((listener) => {
  const library = globalThis.LightweightCharts;
  if (library) return new Chart(library, view.chart, colorsOf(root), listener);
  view.event("The chart library is missing: the log of the service says why. The table below has the bars", Date.now());
  view.chart.hidden = true;
  return null;
});
themed(view.theme, () => app.recolor(colorsOf(root)));

/** For the console: liveBars.bars are the bars that are shown. */
globalThis.liveBars = app;
