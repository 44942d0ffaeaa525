// An experiment's newest decisions and rewards, as an analyst looks at them: by time and by arm.
import { call, type Answer } from "./api";
import { interval } from "./values";

export type Row = Record<string, unknown> & { id: string; date: string };
/** So many of the newest rows of each log are looked at, however long the logs are. */
export const NEWEST = 1000;

/** The name of the arm that an action takes: a field of it, or all of it where nothing names one. */
export function armOf(action: unknown, field: string | null | undefined): string {
  const text = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
  if (action === null || typeof action !== "object" || Array.isArray(action)) return text(action) ?? "";
  const fields = action as Record<string, unknown>;
  if (field && field in fields) return text(fields[field]);
  const names = Object.keys(fields).filter((name) => name !== "propensity");
  return names.length === 1 ? text(fields[names[0]!]) : text(Object.fromEntries(names.map((name) => [name, fields[name]])));
}

/** The number of a reward: itself, or the only number in it. */
export function rewardOf(reward: unknown): number | null {
  if (typeof reward === "number") return reward;
  if (typeof reward === "boolean") return Number(reward);
  if (reward === null || typeof reward !== "object") return null;
  const numbers = Object.values(reward).filter((v) => typeof v === "number" || typeof v === "boolean").map(Number);
  return numbers.length === 1 ? numbers[0]! : null;
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
  summary: Answer<"GET /stats/{exp_id}/summary">;
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

const STEPS = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 86400, 604800];

export async function newest(id: string, from: string, signal?: AbortSignal): Promise<{ summary: View["summary"]; actions: Row[]; rewards: Row[] }> {
  const options = { path: { exp_id: id }, query: { limit: NEWEST, ...(from ? { from } : {}) }, signal };
  const [summary, actions, rewards] = await Promise.all([
    call("GET /stats/{exp_id}/summary", { path: { exp_id: id }, signal }),
    call("GET /stats/{exp_id}/actionlog", options),
    call("GET /stats/{exp_id}/rewardlog", options),
  ]);
  return { summary, actions: actions as unknown as Row[], rewards: rewards as unknown as Row[] };
}

export function viewed({ summary, actions, rewards }: Awaited<ReturnType<typeof newest>>, field: string | null | undefined): View {
  const at = (row: Row) => Date.parse(row.date) / 1000;
  const all = [...actions, ...rewards].map(at);
  const first = Math.min(...all), last = Math.max(...all);
  const bucket = STEPS.find((step) => (last - first) / step <= 60) ?? 2592000;
  const begin = Math.floor(first / bucket), count = all.length ? Math.floor(last / bucket) - begin + 1 : 0;
  const times = Array.from({ length: count }, (_, i) => (begin + i + 1) * bucket);
  const place = (row: Row) => Math.floor(at(row) / bucket) - begin;
  const zeros = () => times.map(() => 0);
  const made: View = { summary, times, bucket, decisions: zeros(), rewards: zeros(), arms: [], shares: {}, means: {}, seen: { decisions: actions.length, rewards: rewards.length }, unread: 0 };
  const picked = new Map<string, number[]>(), earned = new Map<string, [number, number][]>();
  for (const row of actions) {
    const name = armOf(row.action, field), i = place(row);
    if (!picked.has(name)) picked.set(name, zeros());
    picked.get(name)![i]! += 1;
    made.decisions[i]! += 1;
  }
  for (const row of [...rewards].reverse()) {
    const name = armOf(row.action, field), value = rewardOf(row.reward);
    made.rewards[place(row)]! += 1;
    if (!earned.has(name)) earned.set(name, []);
    if (value === null) made.unread += 1;
    else earned.get(name)!.push([place(row), value]);
  }
  const binary = [...earned.values()].every((values) => values.every(([, v]) => v === 0 || v === 1));
  for (const name of [...new Set([...picked.keys(), ...earned.keys()])].sort((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
    const counts = picked.get(name) ?? zeros(), values = earned.get(name) ?? [];
    made.shares[name] = counts.map((n, i) => (made.decisions[i] ? n / made.decisions[i]! : null));
    let n = 0, sum = 0, squares = 0, next = 0;
    made.means[name] = times.map((_, i) => {
      for (; next < values.length && values[next]![0] <= i; next++) {
        const value = values[next]![1];
        n += 1, sum += value, squares += value * value;
      }
      return n ? interval(n, sum, squares, binary) : { mean: null, low: null, high: null };
    });
    made.arms.push({ name, decisions: counts.reduce((a, b) => a + b, 0), rewards: n, ...(n ? interval(n, sum, squares, binary) : { mean: NaN, low: NaN, high: NaN }) });
  }
  return made;
}
