/** Latest prices of all symbols: a list of buttons, each of which shows its symbol. */

import { priced } from "./format.js";
import { staleness } from "./parts.js";

/** What a symbol is called in addresses and lists. */
export function nameOf(exchange, symbol) {
  return `${exchange}:${symbol}`;
}

/** Which way a price went, by the one before: a sign and a word. Pure. */
export function wayOf(price, before) {
  if (before === undefined || Number(price) === Number(before)) return { sign: "", word: "" };
  return Number(price) > Number(before) ? { sign: "▲", word: "up" } : { sign: "▼", word: "down" };
}

export class PriceList {
  #list;
  #choose;
  #prices = new Map();
  #items = new Map();

  /** `choose` is called with an exchange and a symbol. */
  constructor(list, choose) {
    this.#list = list;
    this.#choose = choose;
  }

  /** The newest trade of any symbol, ms; null where there is none. */
  get newest() {
    const times = [...this.#prices.values()].map((price) => price.timestamp);
    return times.length ? times.reduce((one, other) => Math.max(one, other)) : null;
  }

  /** New prices. */
  put(prices) {
    for (const price of prices) {
      const name = nameOf(price.exchange, price.symbol);
      const before = this.#prices.get(name);
      const way = wayOf(price.price, before?.price);
      this.#prices.set(name, { ...price, price: priced(price.price), way: way.sign ? way : (before?.way ?? way) });
    }
  }

  /** All symbols there are, in the order in which they are to be listed. */
  arrange(symbols) {
    const names = symbols.map(([exchange, symbol]) => nameOf(exchange, symbol));
    const items = symbols.map(([exchange, symbol], at) => this.#items.get(names[at]) ?? this.#made(exchange, symbol));
    this.#items = new Map(names.map((name, at) => [name, items[at]]));
    items.forEach(({ element }, at) => {
      const there = this.#list.children[at];
      if (there !== element) this.#list.insertBefore(element, there ?? null);
    });
    while (this.#list.children.length > items.length) this.#list.lastElementChild.remove();
  }

  /** Shows them as they are at a time. */
  show(chosen, now, staleAfter) {
    for (const [name, item] of this.#items) {
      const price = this.#prices.get(name);
      const way = price?.way ?? { sign: "", word: "" };
      const stale = price ? staleness(price.timestamp, now, staleAfter) : "no price yet";
      set(item.price, price?.price ?? "–");
      set(item.sign, way.sign);
      set(item.word, way.word);
      set(item.stale, stale);
      item.element.classList.toggle("stale", Boolean(price && stale));
      if (name === chosen) item.button.setAttribute("aria-current", "true");
      else item.button.removeAttribute("aria-current");
    }
  }

  #made(exchange, symbol) {
    const element = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => this.#choose(exchange, symbol));
    const [name, venue, price, sign, word, stale] = ["name", "venue", "price", "sign", "hidden", "age"].map((kind) => {
      const part = document.createElement("span");
      part.className = kind;
      return part;
    });
    name.textContent = symbol;
    venue.textContent = exchange;
    sign.setAttribute("aria-hidden", "true");
    button.append(name, " ", venue, " ", price, " ", sign, word, " ", stale);
    element.append(button);
    return { element, button, price, sign, word, stale };
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
