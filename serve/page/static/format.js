/** How numbers and times are written. Pure: the same everywhere, in UTC, whatever the browser's language. */

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** A time of a bar: as fine as its width asks for. */
export function barTime(ms, width) {
  const text = new Date(ms).toISOString();
  if (width >= DAY_MS) return text.slice(0, 10);
  return `${text.slice(0, 10)} ${width < MINUTE_MS ? text.slice(11, 19) : text.slice(11, 16)}`;
}

/** A time of the day, to the second. */
export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

/** How long something takes or is ago, in one or two units. */
export function duration(ms) {
  const seconds = Math.max(ms, 0) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 120) return `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A count or a rate: whole where it is large, with thousands apart. */
export function count(number) {
  const text = Number.isInteger(number) || number >= 100 ? String(Math.round(number)) : number.toFixed(1);
  const [whole, part] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return part === undefined ? grouped : `${grouped}.${part}`;
}

/** A number with its noun: 1 trade, 2 trades. */
export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** How many decimals a number's text has. */
export function decimals(text) {
  const [, part = ""] = text.split(".");
  return part.length;
}

/** A price without the zeros at its end that tell nothing; two decimals stay. */
export function priced(text) {
  const [whole, part = ""] = text.split(".");
  return `${whole}.${part.replace(/0+$/, "").padEnd(2, "0")}`;
}

/** The width of an interval by its name, in ms: 15m is 900,000. */
export function widthOf(interval) {
  const units = { s: 1000, m: MINUTE_MS, h: 60 * MINUTE_MS, d: DAY_MS };
  return Number.parseInt(interval, 10) * units[interval.at(-1)];
}
