/** The connection to the service: one stream of events, which comes back by itself and goes on where it was.
 *
 * The browser's EventSource comes back after most losses, and says where it was. What it gives up for (a refusal, a
 * connection that is open and silent), is begun anew here.
 */

/** Without an event for so long, the connection is taken for lost: the service tells its state every second. */
export const SILENCE_MS = 10_000;
const SHORTEST_MS = 500;
const LONGEST_MS = 15_000;

/** How long to wait before the next attempt, somewhat at random, lest all pages come at once. */
export function pause(attempt, random = Math.random()) {
  const longest = Math.min(SHORTEST_MS * 2 ** attempt, LONGEST_MS);
  return longest * (0.5 + random / 2);
}

/** Where the stream is asked for. */
export function address({ exchange, symbol, interval }, position) {
  const asked = new URLSearchParams();
  if (symbol) {
    asked.set("exchange", exchange);
    asked.set("symbol", symbol);
    asked.set("interval", interval);
    if (position) asked.set("after", position);
  }
  const text = asked.toString();
  return text ? `/page/stream?${text}` : "/page/stream";
}

export class Stream {
  #events;
  #onState;
  #source = null;
  #asked = {};
  #position = "";
  #attempt = 0;
  #timer = 0;
  #watch = 0;

  /** `events`: for each name of an event, what takes its content. `onState` is told connecting, open, lost, paused. */
  constructor(events, onState) {
    this.#events = events;
    this.#onState = onState;
  }

  /** Asks for something else, from now on. */
  ask(asked) {
    this.#asked = asked;
    this.#position = "";
    this.#attempt = 0;
    this.#open("connecting");
  }

  /** Ends the connection for a while; `resume` goes on where it was. */
  rest() {
    this.#close();
    this.#onState("paused");
  }

  resume() {
    if (this.#source || this.#timer) return;
    this.#attempt = 0;
    this.#open("connecting");
  }

  #open(state) {
    this.#close();
    this.#onState(state);
    const source = new EventSource(address(this.#asked, this.#position));
    this.#source = source;
    for (const [name, take] of Object.entries(this.#events)) {
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#heard();
        if (event.lastEventId) this.#position = event.lastEventId;
        take(JSON.parse(event.data));
      });
    }
    source.addEventListener("open", () => source === this.#source && this.#heard());
    source.addEventListener("error", () => source === this.#source && this.#lost(source));
    this.#expect();
  }

  #heard() {
    this.#attempt = 0;
    this.#onState("open");
    this.#expect();
  }

  /** The browser tries by itself, or has given up. */
  #lost(source) {
    this.#onState("lost");
    if (source.readyState === EventSource.CLOSED) this.#again();
  }

  #expect() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.#onState("lost");
      this.#again();
    }, SILENCE_MS);
  }

  #again() {
    this.#close();
    const wait = pause(this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#open("lost");
    }, wait);
  }

  #close() {
    clearTimeout(this.#watch);
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#source?.close();
    this.#source = null;
  }
}
