/** One symbol and interval while they are shown: their bars, from the past and from the stream. No DOM.
 *
 * The stream tells every change from when it begins; the past is asked for after that, so that nothing is between them.
 * Of bars that are older than those that are loaded nothing is kept: they are read when somebody scrolls there.
 */

import { Bars } from "./bars.js";
import { counted, widthOf } from "./format.js";
import { missingBetween } from "./marks.js";
import * as past from "./past.js";

export class Session {
  #abort = new AbortController();
  #work = Promise.resolve();
  #listener;
  #isLoading = false;
  #early = null; // while a page is being loaded: changes of bars that may be on it
  #from = Infinity; // every bar from here on is loaded
  #end = -Infinity; // what begins before is final
  #rereads = 0;

  /** `listener` has onChange(isPast), onEvent(sentence, bar), onWait(why) and onFail(why). */
  constructor(chosen, listener, most) {
    this.chosen = chosen;
    this.bars = new Bars(widthOf(chosen.interval), most);
    this.#listener = listener;
    /** Whether the first page of the past is there. */
    this.loaded = false;
    /** Whether there are older bars than those that are loaded. */
    this.more = true;
    /** Whether it is known what runs. */
    this.runs = true;
  }

  close() {
    this.#abort.abort(new Error("nobody looks at it any more"));
  }

  /** Whether so many bars are loaded that there shall be no more. */
  get isFull() {
    return this.bars.length >= this.bars.most;
  }

  /** Loads the page of the past that comes before what is loaded. */
  async past() {
    if (this.#isLoading || !this.more || this.isFull) return;
    this.#isLoading = true;
    await this.#inTurn(() => this.#page());
    this.#isLoading = false;
  }

  async #page() {
    this.#early = [];
    try {
      const asked = this.bars.mark();
      const to = this.loaded ? this.#from - 1 : undefined;
      const found = await past.page(this.chosen, { to }, this.#abort.signal, this.#listener.onWait);
      this.bars.put(found.bars, asked);
      this.more = found.more;
      this.#from = found.more ? Math.min(this.#from, found.bars[0].timestamp) : 0;
      this.bars.put(this.#early.filter((bar) => bar.timestamp >= this.#from));
      this.loaded = true;
    } finally {
      this.#early = null;
    }
    this.#listener.onChange(true);
  }

  /** What the stream tells. */
  take({ bars: rows, end, runs, begins, reread }) {
    this.#end = end;
    this.runs = runs;
    if (this.#from === Infinity) this.#from = end;
    this.#early?.push(...rows.filter((row) => row.timestamp < this.#from));
    const isFollowed = this.loaded && this.bars.length > 0;
    const news = this.bars.put(rows.filter((row) => row.timestamp >= this.#from));
    if (begins && !this.loaded && !this.#isLoading) this.past();
    else if (begins || reread) this.#reread(reread || "the connection began anew");
    this.#settle();
    if (this.bars.trim()) {
      this.more = true;
      this.#from = this.bars.first.timestamp;
    }
    if (isFollowed) this.#tell(news);
    this.#listener.onChange();
  }

  /** Provisional bars go whose time is over; while bars are read anew, they wait for the final ones. */
  #settle() {
    if (!this.#rereads) this.bars.settle(this.#end);
  }

  /** Reads everything that is loaded anew. What is shown stays until it is there. */
  async #reread(why) {
    this.#rereads += 1;
    if (this.loaded && this.#rereads === 1) this.#listener.onEvent(`Reading all bars anew: ${why}`);
    await this.#inTurn(async () => {
      if (this.loaded && this.bars.length) await this.#all();
      if (this.loaded && this.bars.length) return;
      this.loaded = false; // there was nothing, or there is none of it any more
      this.#from = this.#end;
      await this.#page();
    });
    this.#rereads -= 1;
    this.#settle();
    this.#listener.onChange();
  }

  async #all() {
    const asked = this.bars.mark();
    const from = this.bars.first.timestamp;
    const rows = await past.all(this.chosen, { from }, this.#abort.signal, this.#listener.onWait);
    this.bars.replace(rows, from, Infinity, asked);
    this.#from = from;
    this.more = true;
  }

  /** One after the other; what comes after it is done even if it fails. */
  #inTurn(work) {
    const done = this.#work.then(async () => {
      try {
        await work();
      } catch (error) {
        if (!this.#abort.signal.aborted) this.#listener.onFail(error.message);
      }
    });
    this.#work = done;
    return done;
  }

  #tell({ added, amended }) {
    for (const bar of added) {
      const missing = missingBetween(this.bars.all[this.bars.index(bar.timestamp) - 1], bar) + bar.missing_trades;
      if (missing) this.#listener.onEvent(`Gap: ${counted(missing, "trade")} missing`, bar);
    }
    for (const bar of amended) this.#listener.onEvent(`Amended, revision ${bar.revision}`, bar);
  }
}
