/** Candles and volume on the page, drawn by TradingView's Lightweight Charts. */

import { candle, holes, marks, points, precision, seconds, volume } from "./drawing.js";
import { barTime, decimals } from "./format.js";

/** The past is asked for when fewer bars than this are left before the first one that is seen. */
const AHEAD = 100;

/** Colours as the stylesheet has them, by name. */
export function colorsOf(element) {
  const style = getComputedStyle(element);
  const names = [
    "background", "text", "grid", "up", "up-body", "up-volume", "down", "down-body", "down-volume", "provisional",
    "provisional-volume", "amended", "gap",
  ];
  const named = (name) => name.replace(/-(.)/, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(names.map((name) => [named(name), style.getPropertyValue(`--${name}`).trim()]));
}

export class Chart {
  #chart;
  #candles;
  #volumes;
  #marks;
  #colors;
  #width = 1000;
  #drawn = new Set();
  #last = null;

  /** `onPast` is called when the first bars come into sight, `onHover` with the time under the pointer, or null. */
  constructor(library, element, colors, { onPast, onHover }) {
    this.#colors = colors;
    this.#chart = library.createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false }, // it would need inline style; the link and the notice stand under the chart
      handleScroll: { vertTouchDrag: false }, // a finger that moves up or down scrolls the page
      kineticScroll: { mouse: false, touch: false },
      localization: { locale: "en", timeFormatter: (time) => `${barTime(time * 1000, this.#width)} UTC` },
      rightPriceScale: { scaleMargins: { top: 0.12, bottom: 0.26 } },
      timeScale: { timeVisible: true, rightOffset: 4, minBarSpacing: 1 },
    });
    element.firstElementChild?.setAttribute("aria-hidden", "true"); // canvases; the page says what is on them
    this.#candles = this.#chart.addSeries(library.CandlestickSeries, { borderVisible: true });
    this.#volumes = this.#chart.addSeries(library.HistogramSeries, {
      priceFormat: { type: "volume" },
      priceScaleId: "volume",
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
    this.#marks = library.createSeriesMarkers(this.#candles, []);
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && this.#drawn.size && range.from < AHEAD) onPast();
    });
    this.#chart.subscribeCrosshairMove((moved) => onHover(moved.time === undefined ? null : moved.time * 1000));
    this.#paint();
  }

  /** Another symbol or interval: nothing is drawn, and the newest bars will be seen. */
  clear(width) {
    this.#width = width;
    this.#drawn.clear();
    this.#last = null;
    this.#candles.setData([]);
    this.#volumes.setData([]);
    this.#marks.setMarkers([]);
    this.#chart.applyOptions({ timeScale: { secondsVisible: width < 60_000 } });
    this.#chart.timeScale().resetTimeScale();
  }

  /** Other colours, for all that is drawn: these bars, or nothing yet. */
  recolor(colors, bars) {
    this.#colors = colors;
    this.#paint();
    if (bars) this.draw(bars, { rebuilt: true, times: [] });
  }

  /** What has changed of the bars. */
  draw(bars, { rebuilt, times }) {
    if (!rebuilt && !times.length) return;
    const isOrderly = times.every((time) => this.#last === null || time > this.#last || this.#drawn.has(time));
    if (rebuilt || this.#last === null || !isOrderly) this.#drawAll(bars);
    else for (const time of times) this.#drawOne(bars, bars.index(time));
    this.#marks.setMarkers(marks(bars.all, bars.width, this.#colors));
  }

  #drawAll(bars) {
    const { candles, volumes } = points(bars.all, bars.width, this.#colors);
    const digits = precision(bars.all, decimals);
    this.#candles.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
    this.#candles.setData(candles);
    this.#volumes.setData(volumes);
    this.#drawn = new Set(bars.all.map((bar) => bar.timestamp));
    this.#last = bars.last?.timestamp ?? null;
  }

  #drawOne(bars, at) {
    const bar = bars.all[at];
    const isOld = bar.timestamp < this.#last;
    if (bar.timestamp > this.#last) {
      for (const point of holes(bars.all[at - 1], bar, bars.width)) {
        this.#candles.update(point);
        this.#volumes.update(point);
      }
      this.#last = bar.timestamp;
      this.#drawn.add(bar.timestamp);
    }
    this.#candles.update(candle(bar, this.#colors), isOld);
    this.#volumes.update(volume(bar, this.#colors), isOld);
  }

  /** Shows where a bar is, as the pointer would. Without one, nothing is shown. */
  point(bar) {
    if (!bar || !this.#drawn.has(bar.timestamp)) {
      this.#chart.clearCrosshairPosition();
      return;
    }
    this.#chart.setCrosshairPosition(Number(bar.close), seconds(bar.timestamp), this.#candles);
  }

  /** Moves to where a bar can be seen, as far as needed. */
  reveal(bar) {
    const time = seconds(bar.timestamp);
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const x = scale.timeToCoordinate(time);
    const at = x === null ? null : scale.coordinateToLogical(x);
    if (!range || at === null) return;
    const margin = Math.min(3, (range.to - range.from) / 4);
    const left = at - margin - range.from;
    const right = at + margin - range.to;
    const shift = left < 0 ? left : Math.max(right, 0);
    if (shift) scale.setVisibleLogicalRange({ from: range.from + shift, to: range.to + shift });
  }

  /** Shows fewer bars (a factor below 1) or more, the newest one that is seen staying where it is. */
  zoom(factor) {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const span = Math.min(Math.max((range.to - range.from) * factor, 5), 5_000);
    scale.setVisibleLogicalRange({ from: range.to - span, to: range.to });
  }

  /** Shows the newest bars. */
  now() {
    this.#chart.timeScale().scrollToPosition(4, false);
  }

  #paint() {
    const { background, text, grid, provisional } = this.#colors;
    const cross = { color: provisional, labelBackgroundColor: provisional };
    this.#chart.applyOptions({
      layout: { background: { type: "solid", color: background }, textColor: text },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { vertLine: cross, horzLine: cross },
      rightPriceScale: { borderColor: grid },
      timeScale: { borderColor: grid },
    });
    this.#candles.applyOptions({ priceLineColor: text });
  }
}
