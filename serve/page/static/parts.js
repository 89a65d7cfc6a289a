/** How the parts of the service are, in words: Redis, the table, and how far the table is behind. Pure. */

import { clock, count, duration } from "./format.js";

/** Over so much time it is judged whether the table catches up. */
export const SPAN_MS = 10_000;

/** Keeps a sample of when it is and up to when the table is final. Old ones go, and those of another table. */
export function sampled(samples, now, end) {
  const last = samples.at(-1);
  const goesOn = last && end !== null && last.end !== null && end >= last.end && now >= last.now;
  const kept = goesOn ? samples.filter((sample) => sample.now >= now - SPAN_MS) : [];
  return [...kept, { now, end }];
}

/** How far the table is behind, and whether that grows: live, behind, catching up, standing, or none. */
export function recovery(samples, staleAfter) {
  const last = samples.at(-1);
  if (!last || last.end === null) return { state: "none", behind: null, left: null };
  const behind = Math.max(last.now - last.end, 0);
  if (behind <= staleAfter) return { state: "live", behind, left: null };
  const first = samples[0];
  const passed = last.now - first.now;
  if (passed < SPAN_MS / 2) return { state: "behind", behind, left: null };
  const speed = (last.end - first.end) / passed;
  if (speed < 0.05) return { state: "standing", behind, left: null };
  if (speed <= 1.1) return { state: "behind", behind, left: null };
  return { state: "catching up", behind, left: behind / (speed - 1) };
}

/** The same as a sentence; `problem` is what the service says of the table. */
export function tableSentence({ state, behind, left }, problem) {
  if (problem) return `Table away: ${problem}`;
  if (state === "none") return "Table: no bar yet";
  const how = duration(behind);
  if (state === "live") return `Table live: bars are final up to ${how} ago`;
  if (state === "catching up") return `Table catching up: ${how} behind, about ${duration(left)} to go`;
  if (state === "standing") return `Table stands still, ${how} behind. Does jobs/ohlcv.py run?`;
  return `Table ${how} behind`;
}

/** Of Redis and what comes in: whether trades come, and how many, of all symbols and `here`, of the one that is shown.
 *  `problem` is null where nothing is known yet. */
export function feedSentence({ problem, newest, now, rate, here, staleAfter }) {
  if (problem === null) return "Prices: not known yet";
  if (problem) return `Prices away: ${problem.replace(/[.]+$/, "")}. Finished bars come from the table all the same`;
  if (newest === null) return "Prices: no trade yet";
  const age = Math.max(now - newest, 0);
  if (age > staleAfter) return `Prices stale: the last trade is ${duration(age)} old`;
  const speed = rate === null ? "" : `, ${count(rate)} trades/s${here === null ? "" : `, ${count(here)} of them here`}`;
  return `Prices live: last trade ${duration(age)} ago${speed}`;
}

/** Whether a price is old, and since when, as a word or two; empty where it is new. */
export function staleness(timestamp, now, staleAfter) {
  const age = now - timestamp;
  return age > staleAfter ? `stale ${duration(age)}` : "";
}

/** How good a state is, for its sign: ok, busy or bad. */
export function grade(state, problem) {
  if (problem || state === "standing") return "bad";
  return state === "live" ? "ok" : "busy";
}

/** Of the connection to the service. It does not count seconds: it is read aloud whenever it changes. */
export function connectionSentence(state, since) {
  const sentences = {
    open: "Connected",
    connecting: "Connecting",
    paused: "Not connected while this page is hidden",
    lost: `Connection lost at ${clock(since)} UTC: what was shown stays, and it is tried again`,
  };
  return sentences[state];
}
