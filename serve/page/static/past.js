/** The past: pages of finished bars from `/bars`, asked for again where the service is busy. */

const AGAIN_MS = 1_000;
const DEFECT_MS = 10_000;
const LONGEST_MS = 30_000;

/** Bars of a page; more than enough to fill a screen, and quick to draw. */
export const PAGE = 1_000;

/** Where a page of bars is asked for: the first ones from a time on, or else the last ones until a time. */
export function address({ exchange, symbol, interval }, { from, to, limit = PAGE }) {
  const asked = new URLSearchParams({ exchange, interval, limit: String(limit) });
  if (from !== undefined) asked.set("from", String(from));
  if (to !== undefined) asked.set("to", String(to));
  return `/bars/${encodeURIComponent(symbol)}?${asked}`;
}

/** How long to wait after a refusal; null where asking again changes nothing. */
export function wait(status, retryAfter) {
  if (status !== 429 && status < 500) return null;
  if (status !== 429 && status !== 503) return DEFECT_MS;
  const seconds = Number(retryAfter);
  const asked = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : AGAIN_MS;
  return Math.min(asked, LONGEST_MS);
}

/** A page of final bars, oldest first, and whether there are more in that direction. Asks again until it is answered,
 *  or until the signal says that nobody wants it any more. */
export async function page(chosen, range, signal, onWait = () => {}) {
  for (;;) {
    const answer = await answered(address(chosen, range), signal);
    if (answer?.ok) {
      const { bars } = await answer.json();
      return { bars: bars.map((bar) => ({ ...bar, final: true })), more: answer.headers.has("Link") };
    }
    if (answer?.status === 404) return { bars: [], more: false };
    const told = answer ? await problemOf(answer) : "the service cannot be reached";
    const ms = answer ? wait(answer.status, answer.headers.get("Retry-After")) : AGAIN_MS;
    if (ms === null) throw new Error(told);
    onWait(told);
    await sleep(ms, signal);
  }
}

/** Every final bar that begins in [from, to], page by page. */
export async function all(chosen, { from, to }, signal, onWait) {
  const found = [];
  for (let start = from; ; ) {
    const { bars, more } = await page(chosen, { from: start, to, limit: 5 * PAGE }, signal, onWait);
    found.push(...bars);
    if (!more || !bars.length) return found;
    start = bars.at(-1).timestamp + 1;
  }
}

/** The answer; null where there is no connection. */
async function answered(url, signal) {
  try {
    return await fetch(url, { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    return null;
  }
}

async function problemOf(answer) {
  try {
    return (await answer.json()).error ?? `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`; // not ours, but a proxy's
  }
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
