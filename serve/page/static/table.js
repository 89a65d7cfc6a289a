/** The last bars as a table: what the chart shows, for who reads or hears it. */

import { barTime, clock, count, decimals } from "./format.js";
import { flagsOf, wordsOf } from "./marks.js";

export const ROWS = 20;

const PRICES = ["open", "high", "low", "close"];

/** A number's text with so many decimals; none are taken away. */
export function padded(text, digits) {
  const more = digits - decimals(text);
  return more > 0 ? `${text}${text.includes(".") ? "" : "."}${"0".repeat(more)}` : text;
}

/** The last bars as rows of text, newest first, each column with as many decimals as its longest number. Pure. */
export function rowsOf(bars, width, most = ROWS) {
  const rows = [];
  const shown = bars.slice(-most);
  const digits = Math.max(...shown.flatMap((bar) => PRICES.map((name) => decimals(bar[name]))));
  const ofVolume = Math.max(...shown.map((bar) => decimals(bar.volume)));
  for (let at = bars.length - 1; at >= Math.max(bars.length - most, 0); at -= 1) {
    const bar = bars[at];
    const flags = flagsOf(bar, bars[at - 1], width);
    rows.push({
      provisional: flags.provisional,
      marked: Boolean(flags.gap || flags.missing || flags.revision),
      cells: [
        width < 60_000 ? clock(bar.timestamp) : barTime(bar.timestamp, width),
        `${flags.up ? "▲ up" : "▼ down"}`,
        ...PRICES.map((name) => padded(bar[name], digits)),
        padded(bar.volume, ofVolume),
        count(bar.trade_count),
        wordsOf(flags).join("; "),
      ],
    });
  }
  return rows;
}

/** Shows rows in the body of a table. Elements stay where they are, and only texts that are others change. */
export function showRows(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, at) => {
    const shown = body.rows[at] ?? newRow(body, row.cells.length);
    shown.classList.toggle("provisional", row.provisional);
    shown.classList.toggle("marked", row.marked);
    row.cells.forEach((text, column) => {
      const cell = shown.cells[column];
      if (cell.textContent !== text) cell.textContent = text;
    });
  });
}

function newRow(body, columns) {
  const row = body.insertRow();
  const head = document.createElement("th");
  head.scope = "row";
  row.append(head);
  for (let column = 1; column < columns; column += 1) row.insertCell();
  return row;
}
