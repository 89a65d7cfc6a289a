/** What is to be said of a bar besides its numbers. Pure.
 *
 * Exchanges count the trades of a symbol without gaps: where a bar begins with the id after the last one of the bar
 * before, nobody has traded between them; where ids lie between, trades are missing.
 */

import { barTime, count, counted } from "./format.js";

/** How many trades are missing between two bars; none before the first. */
export function missingBetween(before, after) {
  return before ? Math.max(after.first_trade_id - before.last_trade_id - 1, 0) : 0;
}

/** How many intervals lie between two bars. */
export function absentBetween(before, after, width) {
  return before ? Math.max((after.timestamp - before.timestamp) / width - 1, 0) : 0;
}

/** What a bar is. Of one that still changes it is not said that trades are missing: they may be on their way. */
export function flagsOf(bar, before, width) {
  const absent = absentBetween(before, bar, width);
  const gap = bar.final ? missingBetween(before, bar) : 0;
  return {
    up: Number(bar.close) >= Number(bar.open),
    provisional: !bar.final,
    revision: bar.revision,
    missing: bar.final ? bar.missing_trades : 0,
    gap,
    quiet: gap ? 0 : absent,
    absent,
  };
}

/** The same in words, the most important first. */
export function wordsOf(flags) {
  const words = [];
  if (flags.provisional) words.push("provisional");
  if (flags.gap) words.push(`gap: ${counted(flags.gap, "trade")} missing before it`);
  if (flags.missing) words.push(`${counted(flags.missing, "trade")} missing in it`);
  if (flags.revision) words.push(`amended, revision ${flags.revision}`);
  if (flags.quiet) words.push(`after ${counted(flags.quiet, "interval")} without a trade`);
  if (!flags.provisional) words.push("final");
  return words;
}

/** A bar as a sentence, for who hears it. */
export function sentenceOf(bar, before, width) {
  const flags = flagsOf(bar, before, width);
  const numbers = ["open", "high", "low", "close"].map((name) => `${name} ${bar[name]}`).join(", ");
  const way = flags.up ? "up" : "down";
  const trades = `volume ${bar.volume}, ${count(bar.trade_count)} ${bar.trade_count === 1 ? "trade" : "trades"}`;
  return `${barTime(bar.timestamp, width)} UTC, ${way}: ${numbers}; ${trades}; ${wordsOf(flags).join("; ")}`;
}
