/** What is shown, in the page's own address, so that it can be kept and shared: #sim-binance:BTCUSDT:1s. Pure. */

const WRITTEN = /^#([a-z-]{1,30}):([A-Z0-9]{2,20}):([0-9]{1,2}[smhd])$/;

/** What an address asks for; null where it asks for nothing that can be shown. */
export function read(hash, intervals) {
  const found = WRITTEN.exec(hash);
  if (!found || !intervals.includes(found[3])) return null;
  return { exchange: found[1], symbol: found[2], interval: found[3] };
}

export function written({ exchange, symbol, interval }) {
  return `#${exchange}:${symbol}:${interval}`;
}
