/** The parts of the page besides chart, table and prices: sentences, choices, and what has happened. */

import { clock } from "./format.js";
import { nameOf } from "./prices.js";

const EVENTS = 20;
const SIGNS = { ok: "✔", busy: "…", bad: "!" };

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class View {
  #grades = new Map();

  constructor(root) {
    const named = (id) => root.getElementById(id);
    this.chart = named("chart");
    this.table = named("rows");
    this.prices = named("prices");
    this.symbol = named("symbol");
    this.interval = named("interval");
    this.theme = named("theme");
    this.pause = named("pause");
    this.newest = named("newest");
    this.title = named("title");
    this.caption = named("caption");
    this.connection = named("connection");
    this.legend = named("legend");
    this.message = named("message");
    this.said = named("said");
    this.waiting = named("waiting");
    this.events = named("events");
    this.parts = { feed: named("feed"), table: named("table-state"), running: named("running") };
  }

  /** Every interval that can be chosen. */
  get intervals() {
    return [...this.interval.options].map((option) => option.value);
  }

  /** What can be chosen, and what is. */
  symbols(symbols, chosen) {
    const listed = chosen && !symbols.some(([exchange, symbol]) => nameOf(exchange, symbol) === nameOf(...chosen));
    const all = listed ? [...symbols, chosen] : symbols;
    this.symbol.replaceChildren(
      ...all.map(([exchange, symbol]) => new Option(`${symbol} · ${exchange}`, nameOf(exchange, symbol))),
    );
    if (chosen) this.symbol.value = nameOf(...chosen);
  }

  /** What is shown. */
  showing({ exchange, symbol, interval }) {
    const title = `${symbol} at ${exchange}, ${interval}`;
    set(this.title, title);
    set(this.caption, `The last bars of ${title}, newest first. Times are UTC.`);
    this.symbol.value = nameOf(exchange, symbol);
    this.interval.value = interval;
    document.title = `${symbol} ${interval} · live-bars`;
  }

  connected(sentence, isOpen) {
    set(this.connection, sentence);
    this.connection.classList.toggle("bad", !isOpen);
  }

  /** How a part is: a sign, and a sentence that may change every second. It is said when it becomes good or bad. */
  part(name, sentence, grade) {
    const element = this.parts[name];
    set(element, sentence ? `${SIGNS[grade]} ${sentence}` : "");
    element.dataset.grade = grade;
    const before = this.#grades.get(name);
    this.#grades.set(name, grade);
    if (before !== undefined && before !== grade && sentence) this.say(sentence);
  }

  /** Said by a screen reader. */
  say(sentence) {
    set(this.said, sentence);
  }

  /** Stands over the chart, where there is nothing to be seen yet. */
  tell(sentence) {
    set(this.message, sentence);
    this.message.hidden = !sentence;
  }

  /** Something has happened; it is kept on the list for a while. */
  event(sentence, ms) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = new Date(ms).toISOString();
    time.textContent = clock(ms);
    item.append(time, ` ${sentence}`);
    this.events.prepend(item);
    while (this.events.children.length > EVENTS) this.events.lastElementChild.remove();
  }

  /** Whether it stands still. */
  paused(isPaused) {
    set(this.pause, isPaused ? "Resume" : "Pause");
    set(this.waiting, isPaused ? "Paused: what comes is kept" : "");
  }
}
