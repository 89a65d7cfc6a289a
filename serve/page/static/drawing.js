/** Bars as the chart library wants them: points, gaps between them, and marks. Pure.
 *
 * Nothing is told by colour alone. A final bar has a solid body, a bright one where the price rose and a dark one where
 * it fell; a provisional one is hollow, with a circle under it. An amended bar has a square above it, and missing
 * trades an arrow with their number.
 */

import { count } from "./format.js";
import { flagsOf } from "./marks.js";

/** A mark goes without its text where one with a text is nearer than so many bars: they would lie on each other. */
export const APART = 12;

/** Points that stand for intervals without a bar, between two bars, at most. */
export const HOLE = 300;

const GAP = "arrowDown";
const AMENDED = "square";
const NONE = "rgba(0, 0, 0, 0)";

export function seconds(timestamp) {
  return timestamp / 1000;
}

export function candle(bar, colors) {
  const up = Number(bar.close) >= Number(bar.open);
  const line = bar.final ? (up ? colors.up : colors.down) : colors.provisional;
  const body = bar.final ? (up ? colors.upBody : colors.downBody) : NONE;
  const prices = Object.fromEntries(["open", "high", "low", "close"].map((name) => [name, Number(bar[name])]));
  return { time: seconds(bar.timestamp), ...prices, color: body, borderColor: line, wickColor: line };
}

export function volume(bar, colors) {
  const up = Number(bar.close) >= Number(bar.open);
  const color = bar.final ? (up ? colors.upVolume : colors.downVolume) : colors.provisionalVolume;
  return { time: seconds(bar.timestamp), value: Number(bar.volume), color };
}

/** Empty points between two bars, so that time goes on evenly. A long hole is cut short. */
export function holes(before, after, width) {
  const found = [];
  if (!before) return found;
  for (let time = before.timestamp + width; time < after.timestamp && found.length < HOLE; time += width) {
    found.push({ time: seconds(time) });
  }
  return found;
}

/** Every point of some bars, oldest first. */
export function points(bars, width, colors) {
  const found = { candles: [], volumes: [] };
  bars.forEach((bar, at) => {
    const empty = holes(bars[at - 1], bar, width);
    found.candles.push(...empty, candle(bar, colors));
    found.volumes.push(...empty, volume(bar, colors));
  });
  return found;
}

/** The marks of some bars, oldest first. Those of provisional bars stand in a row, under all of these bars. */
export function marks(bars, width, colors) {
  const lowest = bars.reduce((low, bar) => (bar.final ? low : Math.min(low, Number(bar.low))), Infinity);
  return spaced(bars.flatMap((bar, at) => marksOf(bar, bars[at - 1], width, colors, lowest)), APART * seconds(width));
}

/** Marks without the texts that would lie on others. How many trades are missing is said before what was amended. */
function spaced(found, apart) {
  const kept = new Set();
  const gaps = [-Infinity];
  for (const mark of found) {
    if (mark.shape !== GAP || mark.time - gaps.at(-1) < apart) continue;
    gaps.push(mark.time);
    kept.add(mark);
  }
  let last = -Infinity;
  let at = 0;
  for (const mark of found) {
    while (gaps[at + 1] <= mark.time) at += 1;
    const isNear = [last, gaps[at], gaps[at + 1]].some((time) => Math.abs(mark.time - time) < apart);
    if (mark.shape !== AMENDED || isNear) continue;
    last = mark.time;
    kept.add(mark);
  }
  return found.map((mark) => (kept.has(mark) ? mark : { ...mark, text: undefined }));
}

function marksOf(bar, before, width, colors, lowest) {
  const time = seconds(bar.timestamp);
  const flags = flagsOf(bar, before, width);
  const found = [];
  if (flags.gap || flags.missing) {
    const text = `${count(flags.gap + flags.missing)} missing`;
    found.push({ time, position: "aboveBar", shape: GAP, color: colors.gap, text });
  }
  if (flags.revision) {
    found.push({ time, position: "aboveBar", shape: AMENDED, color: colors.amended, text: "amended" });
  }
  if (flags.provisional) {
    const place = { time, position: "atPriceBottom", price: lowest };
    found.push({ ...place, shape: "circle", color: colors.provisional, size: 0.5 });
  }
  return found;
}

/** Decimals that prices of these bars need, of the last ones. */
export function precision(bars, decimals) {
  const texts = bars.slice(-100).flatMap((bar) => [bar.open, bar.high, bar.low, bar.close]);
  return Math.min(Math.max(2, ...texts.map(decimals)), 8);
}
