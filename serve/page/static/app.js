/** The page: what is chosen, what is drawn when, and what the stream's events do. */

import * as address from "./address.js";
import { barTime, clock, widthOf } from "./format.js";
import { listen, moved } from "./keys.js";
import { sentenceOf } from "./marks.js";
import { connectionSentence, feedSentence, grade, recovery, sampled, tableSentence } from "./parts.js";
import { PriceList } from "./prices.js";
import { Session } from "./session.js";
import { Stream } from "./stream.js";
import { rowsOf, showRows } from "./table.js";
import { isCalm } from "./theme.js";

/** How often what has changed is drawn, at most; and where somebody wants less to move. */
const DRAW_MS = 200;
const CALM_MS = 1_000;
/** A page that nobody sees for so long gives its connection back: a browser has six for a service. */
const HIDDEN_MS = 60_000;
const INTERVAL = "1s";

export class App {
  #view;
  #chart = null;
  #stream;
  #prices;
  #symbols = [];
  #session = null;
  #paused = false;
  #cursor = null; // the time of the bar that the keyboard is at
  #hover = null; // and that the pointer is over
  #state = null;
  #samples = [];
  #connection = { state: "connecting", since: Date.now() };
  #timer = 0;
  #hidden = 0;
  #held = []; // what happened while it stood still

  constructor(view) {
    this.#view = view;
    this.#prices = new PriceList(view.prices, (exchange, symbol) => this.#chooseSymbol(exchange, symbol));
    this.#stream = new Stream(
      {
        symbols: (symbols) => this.#takeSymbols(symbols),
        prices: (prices) => this.#changed(() => this.#prices.put(prices)),
        state: (state) => this.#takeState(state),
        bars: (news) => this.#session?.take(news),
      },
      (state) => this.#connected(state),
    );
  }

  /** The bars that are shown: for the console, and for tests. */
  get bars() {
    return this.#session?.bars.all ?? [];
  }

  get session() {
    return this.#session;
  }

  /** Begins. Without a chart, the rest of the page does what it can. */
  start(makeChart) {
    const view = this.#view;
    this.#chart = makeChart({ onPast: () => this.#past(), onHover: (time) => this.#hovered(time) });
    view.symbol.addEventListener("change", () => this.#chooseSymbol(...view.symbol.value.split(":")));
    view.interval.addEventListener("change", () => this.#choose({ ...this.#chosen, interval: view.interval.value }));
    view.pause.addEventListener("click", () => this.#pause());
    view.newest.addEventListener("click", () => this.#chart?.now());
    listen(view.chart, (action) => this.#act(action));
    view.chart.addEventListener("blur", () => this.#leave());
    globalThis.addEventListener("hashchange", () => this.#fromAddress());
    document.addEventListener("visibilitychange", () => this.#seen());
    setInterval(() => this.#schedule(), 1_000);
    if (!this.#fromAddress()) {
      view.tell("Waiting for the service to say which symbols there are");
      this.#stream.ask({});
    }
  }

  /** The colours are others. */
  recolor(colors) {
    if (this.#session?.loaded) this.#chart?.recolor(colors, this.#session.bars);
    else this.#chart?.recolor(colors, null);
  }

  get #chosen() {
    return this.#session?.chosen;
  }

  #fromAddress() {
    const asked = address.read(location.hash, this.#view.intervals);
    if (asked) this.#choose(asked);
    return asked !== null;
  }

  #chooseSymbol(exchange, symbol) {
    this.#choose({ exchange, symbol, interval: this.#chosen?.interval ?? INTERVAL });
  }

  #choose(chosen) {
    const now = this.#chosen;
    if (!chosen.symbol || (now && address.written(now) === address.written(chosen))) return;
    if (this.#paused) this.#pause(); // who asks for another picture wants to see it
    this.#session?.close();
    const view = this.#view;
    this.#session = new Session(chosen, {
      onChange: (isPast) => {
        const { bars } = this.#session;
        if (isPast && this.#paused) this.#chart?.draw(bars, bars.changes()); // who scrolls there wants to see it
        this.#changed();
      },
      onEvent: (sentence, bar) => this.#event(this.#about(chosen, sentence, bar)),
      onWait: (why) => this.#session?.loaded || view.tell(`Waiting for the past: ${why}`),
      onFail: (why) => {
        this.#event(`${chosen.symbol}: the past could not be loaded: ${why}`);
        view.tell(this.#session?.loaded ? "" : `The past could not be loaded: ${why}`);
      },
    });
    this.#cursor = this.#hover = null;
    history.replaceState(null, "", address.written(chosen));
    view.symbols(this.#symbols, [chosen.exchange, chosen.symbol]);
    view.showing(chosen);
    view.tell(`Waiting for bars of ${chosen.symbol}`);
    this.#chart?.clear(this.#session.bars.width);
    this.#stream.ask(chosen);
    this.#schedule();
  }

  #about({ symbol, interval }, sentence, bar) {
    return bar ? `${symbol} ${barTime(bar.timestamp, widthOf(interval))}: ${sentence}` : `${symbol}: ${sentence}`;
  }

  #past() {
    const session = this.#session;
    if (session?.isFull && session.more && !session.isToldFull) {
      session.isToldFull = true;
      const count = session.bars.most.toLocaleString("en");
      this.#event(`${count} bars are loaded, and no more: a wider interval shows more of the past`);
    }
    session?.past();
  }

  #takeSymbols(symbols) {
    this.#changed(() => {
      this.#symbols = symbols;
      const chosen = this.#chosen;
      if (!chosen && symbols.length) this.#chooseSymbol(...symbols[0]);
      else this.#view.symbols(symbols, chosen && [chosen.exchange, chosen.symbol]);
      this.#prices.arrange(symbols);
    });
  }

  #takeState(state) {
    this.#state = { ...state, at: performance.now() };
    this.#samples = sampled(this.#samples, state.now, state.table.end);
    this.#schedule();
  }

  /** The service's clock. */
  #now() {
    return this.#state ? this.#state.now + performance.now() - this.#state.at : Date.now();
  }

  #connected(state) {
    const before = this.#connection.state;
    if (state === before) return;
    this.#connection = { state, since: this.#now() };
    if (state === "lost") this.#event("Connection lost");
    if (state === "open" && before === "lost") this.#event("Connected again");
    this.#view.connected(connectionSentence(state, this.#connection.since), state === "open");
  }

  #seen() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#stream.rest(), HIDDEN_MS);
    else this.#stream.resume();
  }

  #pause() {
    this.#paused = !this.#paused;
    this.#view.paused(this.#paused);
    this.#view.say(this.#paused ? "Paused. What comes is kept, and shown when you resume" : "Resumed");
    if (this.#paused) return;
    for (const [sentence, ms] of this.#held.splice(0)) this.#view.event(sentence, ms);
    this.#draw();
  }

  #event(sentence) {
    if (this.#paused) this.#held.push([sentence, this.#now()]);
    else this.#view.event(sentence, this.#now());
  }

  /** Something is to be drawn. */
  #changed(change = () => {}) {
    change();
    this.#schedule();
  }

  #schedule() {
    this.#timer ||= setTimeout(() => this.#draw(), isCalm() ? CALM_MS : DRAW_MS);
  }

  #draw() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#paused) return;
    const { bars, loaded, chosen } = this.#session ?? {};
    if (loaded) {
      this.#view.tell(bars.length ? "" : `There is no bar of ${chosen.symbol} yet`);
      const changes = bars.changes();
      this.#chart?.draw(bars, changes);
      if (this.#cursor !== null) this.#chart?.point(bars.all[bars.index(this.#cursor)]); // it may have moved
      showRows(this.#view.table, rowsOf(bars.all, bars.width));
      this.#legend();
    }
    const name = chosen ? `${chosen.exchange}:${chosen.symbol}` : "";
    this.#prices.show(name, this.#now(), this.#state?.stale_after ?? Infinity);
    this.#showParts();
  }

  #showParts() {
    const state = this.#state;
    if (!state) return;
    if (this.#connection.state === "lost" || this.#connection.state === "paused") {
      this.#view.part("feed", `Prices as they were at ${clock(state.now)} UTC`, "busy");
      this.#view.part("table", `Table as it was at ${clock(state.now)} UTC`, "busy");
      return;
    }
    const now = this.#now();
    const newest = this.#prices.newest;
    const { redis, rate, rate_here: here, table, stale_after: staleAfter } = state;
    const isStale = newest !== null && now - newest > staleAfter;
    const feed = feedSentence({ problem: redis.problem, newest, now, rate, here, staleAfter });
    const isBusy = redis.problem === null || newest === null;
    this.#view.part("feed", feed, isBusy ? "busy" : redis.problem || isStale ? "bad" : "ok");
    const samples = [...this.#samples, { now, end: table.end }];
    const found = recovery(samples, staleAfter);
    this.#view.part("table", tableSentence(found, table.problem), grade(found.state, table.problem));
    const isKnown = !this.#session?.loaded || this.#session.runs;
    const unknown = "No new provisional bars: what came since the last final one is not known now";
    this.#view.part("running", isKnown ? "" : unknown, isKnown ? "ok" : "busy");
  }

  #legend() {
    const { bars } = this.#session;
    const asked = this.#cursor ?? this.#hover;
    const at = asked === null ? bars.length - 1 : bars.index(asked);
    const bar = bars.all[at];
    this.#view.legend.textContent = bar ? sentenceOf(bar, bars.all[at - 1], bars.width) : "";
  }

  #hovered(time) {
    if (this.#hover === time) return;
    this.#hover = time;
    if (this.#session?.loaded) this.#legend();
  }

  #act({ move, zoom, pause, leave }) {
    if (pause) this.#pause();
    if (zoom) this.#chart?.zoom(zoom);
    if (leave) this.#leave();
    if (move === undefined || !this.#session?.loaded) return;
    if (this.#timer) this.#draw(); // a bar that is not drawn cannot be pointed at
    const { bars } = this.#session;
    const at = moved(this.#cursor === null ? -1 : bars.index(this.#cursor), move, bars.length);
    const bar = bars.all[at];
    if (!bar) return;
    this.#cursor = bar.timestamp;
    this.#chart?.reveal(bar);
    this.#chart?.point(bar);
    this.#legend();
    this.#view.say(sentenceOf(bar, bars.all[at - 1], bars.width));
  }

  #leave() {
    this.#cursor = this.#hover = null;
    this.#chart?.point(null);
    if (this.#session?.loaded) this.#legend();
  }
}
