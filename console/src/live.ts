// An experiment's newest decisions and rewards, as an analyst looks at them: by time and by arm.
import { ApiError, call, type Answer } from "./api";
import { interval } from "./values";

/** The server tells so many of the newest decisions, and of the newest rewards, however long the logs are. */
export const NEWEST = 1000;
/** A stream ends after so long, and the browser begins the next one: who may no longer watch is told then. */
const STREAM_S = 300;
/** A stream that the server could not begin just now is asked for again after so long. */
const AGAIN_MS = 3000;

type Summary = Answer<"GET /stats/{exp_id}/summary">;
export interface Told {
  summary: Summary;
  /** Date and arm of each, oldest first. */
  decisions: [string, string][];
  /** Date, arm, and number, if the reward has one. */
  rewards: [string, string, number | null][];
}

/**
 * Tell what there is, and then what comes, as long as the page is seen. Returns what ends it.
 * `fail` is given what the API says of a refusal, and undefined when numbers come again.
 */
export function follow(id: string, tell: (all: Told) => void, fail: (error: unknown) => void): () => void {
  let events: EventSource | null = null, known: Told | null = null, again = 0, ended = false;
  const open = () => {
    events = new EventSource(`/stats/${encodeURIComponent(id)}/live?seconds=${STREAM_S}`);
    events.addEventListener("live", (event) => {
      const { all, ...told } = JSON.parse(event.data) as Told & { all: boolean };
      known = all || !known ? told : {
        summary: told.summary,
        decisions: [...known.decisions, ...told.decisions].slice(-NEWEST),
        rewards: [...known.rewards, ...told.rewards].slice(-NEWEST),
      };
      fail(undefined);
      tell(known);
    });
    // A browser begins a stream that broke off anew, but never one that was refused.
    events.addEventListener("error", () => {
      if (events?.readyState !== EventSource.CLOSED) return;
      events = null;
      const later = () => (again = window.setTimeout(seen, AGAIN_MS));
      call("GET /stats/{exp_id}/summary", { path: { exp_id: id } }).then(later, (error: unknown) => {
        fail(error);
        const final = error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
        if (!final) later();
      });
    });
  };
  // A browser has six connections to a server for all its tabs: those that nobody sees hold none.
  const seen = () => {
    clearTimeout(again);
    if (ended) return;
    if (document.hidden) {
      events?.close();
      events = null;
    } else if (!events) open();
  };
  document.addEventListener("visibilitychange", seen);
  seen();
  return () => {
    document.removeEventListener("visibilitychange", seen);
    ended = true;
    clearTimeout(again);
    events?.close();
  };
}

export interface Arm {
  name: string;
  decisions: number;
  rewards: number;
  mean: number;
  low: number;
  high: number;
}

export interface View {
  summary: Summary;
  /** Ends of buckets in seconds since 1970; numbers of calls and the shares and running means of arms in each. */
  times: number[];
  bucket: number;
  decisions: number[];
  rewards: number[];
  arms: Arm[];
  shares: Record<string, (number | null)[]>;
  means: Record<string, { mean: number | null; low: number | null; high: number | null }[]>;
  seen: { decisions: number; rewards: number };
  /** Rewards that have no single number. */
  unread: number;
}

const UNKNOWN = { mean: NaN, low: NaN, high: NaN }, NONE = { mean: null, low: null, high: null };
const byName = (names: string[]) => [...new Set(names)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));

/** What the server counted by minute or by hour, by time and by arm. */
export function counted(told: Answer<"GET /stats/{exp_id}/buckets">, summary: Summary): View {
  const bucket = told.step === "minute" ? 60 : 3600;
  const at = told.buckets.map((one) => Date.parse(one.start) / 1000);
  const begin = at[0] ?? 0, count = at.length ? (at.at(-1)! - begin) / bucket + 1 : 0;
  const times = Array.from({ length: count }, (_, i) => begin + (i + 1) * bucket);
  const place = new Map(at.map((start, i) => [(start - begin) / bucket, told.buckets[i]!]));
  const each = times.map((_, i) => place.get(i));
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const made: View = {
    summary, times, bucket, arms: [], shares: {}, means: {},
    decisions: each.map((one) => one?.decisions ?? 0), rewards: each.map((one) => one?.rewards ?? 0),
    seen: { decisions: sum(told.buckets.map((one) => one.decisions)), rewards: sum(told.buckets.map((one) => one.rewards)) },
    unread: sum(told.buckets.map((one) => one.rewards - one.numbers)),
  };
  // Numbers that are all 0 or 1 are their own squares.
  const binary = told.buckets.every((one) => one.reward_sum === one.reward_squares);
  for (const name of byName(told.buckets.flatMap((one) => Object.keys(one.arms)))) {
    const rows = each.map((one) => one?.arms[name]);
    made.shares[name] = rows.map((row, i) => (made.decisions[i] ? (row?.decisions ?? 0) / made.decisions[i]! : null));
    let n = 0, total = 0, squares = 0;
    made.means[name] = rows.map((row) => {
      n += row?.numbers ?? 0, total += row?.reward_sum ?? 0, squares += row?.reward_squares ?? 0;
      return n ? interval(n, total, squares, binary) : NONE;
    });
    made.arms.push({ name, decisions: sum(rows.map((row) => row?.decisions ?? 0)), rewards: n, ...(n ? interval(n, total, squares, binary) : UNKNOWN) });
  }
  return made;
}

const STEPS = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 86400, 604800];

/** What was told, by time and by arm. `since`: what came before that is left out, in seconds since 1970. */
export function viewed(told: Told, since: number): View {
  const at = (row: readonly [string, ...unknown[]]) => Date.parse(row[0]) / 1000;
  const actions = told.decisions.filter((row) => at(row) >= since), rewards = told.rewards.filter((row) => at(row) >= since);
  const { summary } = told;
  const all = [...actions, ...rewards].map(at);
  const first = Math.min(...all), last = Math.max(...all);
  const bucket = STEPS.find((step) => (last - first) / step <= 60) ?? 2592000;
  const begin = Math.floor(first / bucket), count = all.length ? Math.floor(last / bucket) - begin + 1 : 0;
  const times = Array.from({ length: count }, (_, i) => (begin + i + 1) * bucket);
  const place = (row: readonly [string, ...unknown[]]) => Math.floor(at(row) / bucket) - begin;
  const zeros = () => times.map(() => 0);
  const made: View = { summary, times, bucket, decisions: zeros(), rewards: zeros(), arms: [], shares: {}, means: {}, seen: { decisions: actions.length, rewards: rewards.length }, unread: 0 };
  const picked = new Map<string, number[]>(), earned = new Map<string, [number, number][]>();
  for (const row of actions) {
    const name = row[1], i = place(row);
    if (!picked.has(name)) picked.set(name, zeros());
    picked.get(name)![i]! += 1;
    made.decisions[i]! += 1;
  }
  for (const row of rewards) {
    const [, name, value] = row;
    made.rewards[place(row)]! += 1;
    if (!earned.has(name)) earned.set(name, []);
    if (value === null) made.unread += 1;
    else earned.get(name)!.push([place(row), value]);
  }
  const binary = [...earned.values()].every((values) => values.every(([, v]) => v === 0 || v === 1));
  for (const name of byName([...picked.keys(), ...earned.keys()])) {
    const counts = picked.get(name) ?? zeros(), values = earned.get(name) ?? [];
    made.shares[name] = counts.map((n, i) => (made.decisions[i] ? n / made.decisions[i]! : null));
    let n = 0, sum = 0, squares = 0, next = 0;
    made.means[name] = times.map((_, i) => {
      for (; next < values.length && values[next]![0] <= i; next++) {
        const value = values[next]![1];
        n += 1, sum += value, squares += value * value;
      }
      return n ? interval(n, sum, squares, binary) : NONE;
    });
    made.arms.push({ name, decisions: counts.reduce((a, b) => a + b, 0), rewards: n, ...(n ? interval(n, sum, squares, binary) : UNKNOWN) });
  }
  return made;
}
