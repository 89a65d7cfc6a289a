/** The bars of one symbol and interval that the page has, oldest first. No DOM, no clock, no network.
 *
 * They come from two sides at once: the past from `/bars`, changes from the stream. Each row bears a mark of when it
 * was told, so that an answer that was asked for earlier and comes later does not undo what was told meanwhile.
 */

export const MOST = 20_000;
const COMPARED = [
  "open", "high", "low", "close", "volume", "trade_count", "first_trade_id", "last_trade_id", "missing_trades",
  "revision", "final",
];

/** Where a time stands among bars, or would stand. */
export function place(bars, timestamp) {
  let low = 0;
  let high = bars.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bars[middle].timestamp < timestamp) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether two rows of one time say the same. */
export function same(one, other) {
  return COMPARED.every((name) => one[name] === other[name]);
}

export class Bars {
  #bars = [];
  #changed = new Set();
  #rebuilt = true;
  #marks = 0;

  constructor(width, most = MOST) {
    this.width = width;
    this.most = most;
  }

  /** All of them; not to be changed. */
  get all() {
    return this.#bars;
  }

  get length() {
    return this.#bars.length;
  }

  get first() {
    return this.#bars[0];
  }

  get last() {
    return this.#bars.at(-1);
  }

  /** The place of the bar of a time; -1 where there is none. */
  index(timestamp) {
    const at = place(this.#bars, timestamp);
    return this.#bars[at]?.timestamp === timestamp ? at : -1;
  }

  /** A mark of now, for rows that are asked for now. */
  mark() {
    this.#marks += 1;
    return this.#marks;
  }

  /** Takes rows that were asked for at a mark, or that are told now. Returns those that are new as final ones, and
   *  those that amend a final one. */
  put(rows, asked = this.mark()) {
    const news = { added: [], amended: [] };
    for (const row of rows) this.#take({ ...row, told: asked }, news);
    return news;
  }

  #take(row, news) {
    const at = place(this.#bars, row.timestamp);
    const known = this.#bars[at];
    if (known?.timestamp !== row.timestamp) {
      if (at < this.#bars.length) this.#rebuilt = true;
      this.#bars.splice(at, 0, row);
      if (row.final) news.added.push(row);
    } else {
      if (known.told > row.told || (known.final && !row.final)) return;
      this.#bars[at] = row;
      if (same(known, row)) return;
      if (row.final) (known.final ? news.amended : news.added).push(row);
    }
    this.#changed.add(row.timestamp);
  }

  /** Every interval before `end` is final: one that has no final bar by now has none. */
  settle(end) {
    this.#keep((bar) => bar.final || bar.timestamp >= end);
  }

  /** Takes all rows of a time that were asked for anew at a mark: what is not among them is no more. */
  replace(rows, from, to, asked) {
    const there = new Set(rows.map((row) => row.timestamp));
    const goes = (bar) => bar.final && bar.told <= asked && bar.timestamp >= from && bar.timestamp <= to;
    this.#keep((bar) => there.has(bar.timestamp) || !goes(bar));
    return this.put(rows, asked);
  }

  /** Forgets the oldest where they are too many, some at a time. Returns whether it did. */
  trim() {
    if (this.#bars.length <= this.most * 1.1) return false;
    this.#bars.splice(0, this.#bars.length - this.most);
    this.#rebuilt = true;
    return true;
  }

  #keep(stays) {
    const kept = this.#bars.filter(stays);
    if (kept.length === this.#bars.length) return;
    this.#bars = kept;
    this.#rebuilt = true;
  }

  /** What has changed since this was asked last: the times of bars, oldest first; or everything. */
  changes() {
    const times = [...this.#changed].filter((time) => this.index(time) >= 0).sort((one, other) => one - other);
    const found = { rebuilt: this.#rebuilt, times };
    this.#changed.clear();
    this.#rebuilt = false;
    return found;
  }
}
