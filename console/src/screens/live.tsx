// One experiment as it learns.
import { useEffect, useMemo, useState } from "preact/hooks";
import { call } from "../api";
import { Calls } from "../calls";
import { LineChart, Swatch, type Series } from "../charts/line";
import { Shares } from "../charts/shares";
import { counted, follow, NEWEST, viewed, type Told, type View } from "../live";
import { filter, href, route } from "../router";
import { Choice, Empty, Failure, Show, Table, Time, useLoad, Waiting } from "../ui";
import { look, lookOf, number, percent } from "../values";
import { Delays } from "./delays";
import type { Experiment } from "./experiment";

const AGAIN_MS = 5000;
const RANGES: [string, string][] = [["15m", "the last 15 minutes"], ["3h", "the last 3 hours"], ["24h", "the last 24 hours"], ["7d", "the last 7 days"], ["30d", "the last 30 days"]];
const HOURS: Record<string, number> = { "15m": 0.25, "3h": 3, "24h": 24, "7d": 168, "30d": 720 };
// So many arms are drawn by themselves.
const DRAWN = 12;

function useView(id: string, range: string): { view?: View; error: unknown; stamp: string; whole: boolean; since: string | null } {
  const [told, tell] = useState<Told>();
  const [error, fail] = useState<unknown>();
  useEffect(() => follow(id, tell, fail), [id]);
  // What costs the server more is asked anew at most once in a while.
  const [stamp, setStamp] = useState("");
  const counters = told && JSON.stringify(told.summary);
  useEffect(() => {
    if (!counters || counters === stamp) return;
    const timer = setTimeout(() => setStamp(counters), stamp ? AGAIN_MS : 0);
    return () => clearTimeout(timer);
  }, [stamp, counters !== undefined && counters !== stamp]);
  // Of the newest rows what was told; of a time what the server counted, however many calls that were.
  const hours = HOURS[range];
  const counts = useLoad(async (signal) => {
    if (!hours || !stamp) return undefined;
    const query = { step: hours <= 3 ? "minute" : "hour", from: new Date(Date.now() - hours * 3_600_000).toISOString() };
    return call("GET /stats/{exp_id}/buckets", { path: { exp_id: id }, query, signal });
  }, [id, range], [stamp]);
  const view = useMemo(() => {
    if (!told) return undefined;
    if (!hours) return viewed(told, 0);
    return counts.data && counted(counts.data, told.summary);
  }, [hours ? counts.data : told, range, told === undefined]);
  const since = (hours && counts.data?.since) || null;
  return { view, error: error ?? counts.error, stamp, whole: Boolean(hours), since: since && since > counts.data!.from ? since : null };
}

export function Live({ experiment }: { experiment: Experiment }) {
  const { id } = experiment;
  const range = route.value.query.get("range") ?? "";
  const { view, error, stamp, whole, since } = useView(id, range);
  return (
    <>
      <div class="row">
        <Choice label="Time range" value={range} options={RANGES} empty="all, of the newest rows" onChange={(value) => filter({ range: value })} />
      </div>
      <Failure error={error} />
      {since && <p class="note">Calls are counted by time since <Time at={since} />; those before are not in these numbers.</p>}
      {!view ? !error && <Waiting what="Reading the newest decisions and rewards" /> : <Numbers view={view} id={id} whole={whole} />}
      <div class="grid">
        <section class="panel"><Health id={id} stamp={stamp} /></section>
        <div class="stack">
          <section class="panel"><Errors id={id} stamp={stamp} /></section>
          <section class="panel"><Inference experiment={experiment} /></section>
          {experiment.advice_id && <section class="panel"><Delays id={id} stamp={stamp} /></section>}
        </div>
        <section class="panel"><h2>The two calls</h2><Calls id={id} secret={experiment.key} field={experiment.arm_field ?? "arm"} /></section>
      </div>
    </>
  );
}

function Numbers({ view, id, whole }: { view: View; id: string; whole: boolean }) {
  const { summary, arms, seen } = view;
  const rewarded = arms.filter((arm) => arm.rewards > 0);
  const total = rewarded.reduce((sum, arm) => sum + arm.rewards, 0);
  const mean = rewarded.reduce((sum, arm) => sum + arm.mean * arm.rewards, 0) / total;
  const part = !whole && (seen.decisions >= NEWEST || seen.rewards >= NEWEST);
  const most = [...arms].sort((a, b) => b.decisions - a.decisions).slice(0, DRAWN).map((arm) => arm.name);
  const drawn = arms.filter((arm) => most.includes(arm.name)).map((arm) => arm.name);
  const others = arms.length - drawn.length;
  const noted = others > 0 ? `The ${DRAWN} arms that are taken most; the table has all ${arms.length}.` : undefined;
  const rest: Series[] = others <= 0 ? [] : [{ name: `${others} others`, ...look(8), values: view.times.map((_, i) => drawn.reduce((left, arm) => left - (view.shares[arm]![i] ?? 0), 1)) }];
  return (
    <>
      <dl class="facts">
        <div><dt>Decisions{whole && " in this time"}</dt><dd>{number(whole ? seen.decisions : summary.get_action_calls)}</dd></div>
        <div><dt>Rewards{whole && " in this time"}</dt><dd>{number(whole ? seen.rewards : summary.set_reward_calls)}</dd></div>
        <div><dt>Mean reward{part ? ` of the newest ${number(total)}` : ""}</dt><dd>{number(mean)}</dd></div>
        <div><dt>Last decision</dt><dd><Time at={summary.last_added_get_action} /></dd></div>
        <div><dt>Last reward</dt><dd><Time at={summary.last_added_set_reward} /></dd></div>
      </dl>
      {view.unread > 0 && <p class="note">{number(view.unread)} rewards have no number, or several, and are in no mean.</p>}
      {view.times.length === 0 ? (
        <Empty><h2>Nothing in this time</h2><p>{summary.get_action_calls === 0 ? "No decision was made yet. The two calls below are all that an application needs." : "Choose a longer one."}</p></Empty>
      ) : (
        <>
          <Table title={`Arms${part ? `, of the newest ${number(seen.decisions)} decisions and ${number(seen.rewards)} rewards` : ""}`} file={`arms-${id}`} rows={arms} keyOf={(arm) => arm.name} columns={[
            { name: "Arm", cell: (arm) => <><Swatch look={lookOf(id, arm.name)} />{arm.name}</>, data: (arm) => arm.name },
            { name: "Decisions", number: true, cell: (arm) => number(arm.decisions), data: (arm) => arm.decisions },
            { name: "Share", number: true, cell: (arm) => percent(seen.decisions ? arm.decisions / seen.decisions : NaN), data: (arm) => arm.decisions / seen.decisions },
            { name: "Rewards", number: true, cell: (arm) => number(arm.rewards), data: (arm) => arm.rewards },
            { name: "Mean", number: true, cell: (arm) => number(arm.mean), data: (arm) => arm.mean },
            { name: "95 % interval", number: true, cell: (arm) => (Number.isFinite(arm.low) ? `${number(arm.low)} to ${number(arm.high)}` : "–"), data: (arm) => [arm.low, arm.high] },
          ]} />
          <p class="quiet">Plain means and intervals for one look. Which arm is better at any look, with the bandit's own choices allowed for, says the panel “May I stop?”.</p>
          <div class="grid">
            <div class="panel">
              <LineChart title="Mean reward of each arm" x="time" y="mean reward so far" time xs={view.times} note={noted}
                series={drawn.map((name) => {
                  const at = view.means[name]!;
                  return { name, ...lookOf(id, name), values: at.map((m) => m.mean), low: at.map((m) => m.low), high: at.map((m) => m.high) };
                })} />
            </div>
            <div class="panel">
              <Shares title="Share of each arm" x="time" time xs={view.times} note={noted} series={[...drawn.map((name) => ({ name, ...lookOf(id, name), values: view.shares[name]! })), ...rest]} />
            </div>
            <div class="panel">
              <LineChart title="Traffic" x="time" y={`calls in ${spoken(view.bucket)}`} time xs={view.times} series={[
                { name: "decisions", ...look(0), values: view.decisions },
                { name: "rewards", ...look(1), values: view.rewards },
              ]} />
            </div>
          </div>
        </>
      )}
    </>
  );
}

function spoken(seconds: number): string {
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]] as const) {
    if (seconds >= size) return seconds === size ? `a ${unit}`.replace("a h", "an h") : `${seconds / size} ${unit}s`;
  }
  return seconds === 1 ? "a second" : `${seconds} seconds`;
}

function Health({ id, stamp }: { id: string; stamp: string }) {
  const found = useLoad(async (signal) => (stamp ? call("GET /stats/{exp_id}/health", { path: { exp_id: id }, query: { rows: 1000 }, signal }) : undefined), [id], [stamp]);
  return (
    <>
      <h2>Health</h2>
      <Show of={found} what="Checking the newest decisions">
        {(health) => health && (
          <ul class="checks">
            {health.checks.map((check) => (
              <li key={check.name}><span class={check.ok ? "good" : "wrong"}>{check.ok ? "✓ fine" : "✗ look"}</span><span>{check.sentence}</span></li>
            ))}
          </ul>
        )}
      </Show>
    </>
  );
}

function Errors({ id, stamp }: { id: string; stamp: string }) {
  const found = useLoad(async (signal) => (stamp ? call("GET /stats/{exp_id}/errorlog", { path: { exp_id: id }, query: { limit: 5 }, signal }) : undefined), [id], [stamp]);
  return (
    <>
      <h2>Last errors</h2>
      <Show of={found} what="Reading the last errors">
        {(rows) =>
          rows && (rows.length === 0 ? <p class="quiet">The code has not failed.</p> : (
            <ul class="bare stack">
              {(rows as unknown as { id: string; date: string; call: string; message: string; detail?: { piece?: string; line?: number } }[]).map((row) => (
                <li key={row.id}>
                  <Time at={row.date} /> <code>{row.call}</code>: {row.message}{" "}
                  {row.detail?.piece && <a href={href(["experiments", id, "policy"], { piece: row.detail.piece, line: String(row.detail.line ?? 1) })}>{row.detail.piece}, line {row.detail.line}</a>}
                </li>
              ))}
            </ul>
          ))
        }
      </Show>
    </>
  );
}

function Inference({ experiment }: { experiment: Experiment }) {
  const [asked, ask] = useState(0);
  const found = useLoad(async (signal) => (asked ? call("GET /stats/{exp_id}/inference", { path: { exp_id: experiment.id }, signal }) : undefined), [experiment.id], [asked]);
  const segment = found.data?.segments[0];
  return (
    <>
      <h2>May I stop?</h2>
      <p class="quiet">Intervals that stay right however often one looks, though the policy learned from what it saw.</p>
      <button type="button" onClick={() => ask(asked + 1)} disabled={asked > 0 && found.loading}>{asked ? "Look again" : "Look"}</button>
      {asked > 0 && (
        <Show of={found} what="Reading the log and working out the intervals">
          {() => (
            <>
              {found.data?.warnings.map((one) => <p key={one} class="note">{one}</p>)}
              {segment && <p>{segment.sentence}</p>}
              {segment && (
                <Table title={`Difference to ${found.data?.control ?? "the control"}`} file="differences" rows={segment.differences} keyOf={(one) => String(one.arm)} columns={[
                  { name: "Arm", cell: (one) => String(one.arm), data: (one) => one.arm },
                  { name: "Difference", number: true, cell: (one) => number(one.estimate), data: (one) => one.estimate },
                  { name: "Interval", number: true, cell: (one) => (typeof one.low === "number" ? `${number(one.low)} to ${number(one.high)}` : "–"), data: (one) => [one.low, one.high] },
                  { name: "Why not", cell: (one) => String(one.reason ?? "") },
                ]} />
              )}
            </>
          )}
        </Show>
      )}
    </>
  );
}
