// When an experiment decides, for whom, and what stops it.
import { useState } from "preact/hooks";
import { call } from "../api";
import { Failure, Field, Show, Table, Time, useAct, useLoad } from "../ui";
import { json, number, percent } from "../values";
import type { Experiment } from "./experiment";

const LOOKED = 1000;
const STEPS = [["running", "Start"], ["paused", "Pause"], ["stopped", "Stop"], ["archived", "Close"]] as const;
const MEANING: Record<string, string> = {
  draft: "It makes no decisions yet.",
  running: "It decides, within its dates and numbers.",
  paused: "It makes no decisions; the fallback is served, if there is one. Rewards are taken.",
  stopped: "It makes no decisions any more; rewards of earlier ones are taken.",
  archived: "It takes neither decisions nor rewards, and can be read.",
};
type Edit = Record<string, unknown>;

function useEdit(experiment: Experiment, reload: () => void) {
  const doing = useAct();
  const edit = (what: string, body: Edit) => doing.act(what, async () => {
    await call("PUT /exp/{exp_id}", { path: { exp_id: experiment.id }, body: { ...body, if_revision: experiment.revision } });
    reload();
  });
  return { ...doing, edit };
}

export function LifeCycle({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  return (
    <div class="grid">
      <div class="stack">
        <section class="panel"><States experiment={experiment} reload={reload} /></section>
        <section class="panel"><Beside experiment={experiment} reload={reload} /></section>
      </div>
      <section class="panel"><Schedule key={experiment.revision} experiment={experiment} reload={reload} /></section>
      <section class="panel"><Guardrails experiment={experiment} reload={reload} /></section>
    </div>
  );
}

function States({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const { busy, error, edit } = useEdit(experiment, reload);
  const state = experiment.state ?? "running";
  return (
    <>
      <h2>State: {state}</h2>
      <p>{MEANING[state]}</p>
      <div class="row">
        {STEPS.map(([to, label]) => (
          <button key={to} type="button" class={to === "running" && state !== "running" ? "main" : undefined} disabled={busy !== "" || to === state} onClick={() => edit(label, { state: to })}>{label}</button>
        ))}
      </div>
      <p class="quiet">Each of them holds from the next call on in every process, and Start takes it back.</p>
      <Failure error={error} />
      <dl class="facts">
        <div><dt>Starts</dt><dd>{experiment.starts ? <Time at={experiment.starts} /> : "at once"}</dd></div>
        <div><dt>Ends</dt><dd><Time at={experiment.ends} /></dd></div>
        <div><dt>Most decisions</dt><dd>{number(experiment.max_decisions)}</dd></div>
        <div><dt>Control</dt><dd>{experiment.control === undefined ? "–" : String(experiment.control)}</dd></div>
        <div><dt>Fallback</dt><dd>{experiment.fallback === undefined ? "–" : typeof experiment.fallback === "string" ? experiment.fallback : json(experiment.fallback)}</dd></div>
        <div><dt>Unit</dt><dd>{experiment.unit ?? "–"}</dd></div>
      </dl>
    </>
  );
}

function Schedule({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const { busy, error, edit } = useEdit(experiment, reload);
  const old = { starts: experiment.starts, ends: experiment.ends, max_decisions: experiment.max_decisions, ...experiment.traffic } as Record<string, unknown>;
  const [typed, set] = useState<Record<string, string>>({});
  const text = (name: string) => typed[name] ?? (old[name] === undefined || old[name] === null ? "" : String(old[name]));
  const field = (name: string, label: string, hint: string, type = "number") => (
    <Field name={name} label={label} hint={hint} error={error} type={type} step={type === "number" ? "any" : undefined} value={text(name)} onInput={(e) => set({ ...typed, [name]: e.currentTarget.value })} />
  );
  const submit = (event: Event) => {
    event.preventDefault();
    const numbers = ["floor", "burn_in", "holdout", "ramp"].filter((name) => text(name) !== "").map((name) => [name, Number(text(name))]);
    void edit("Save", {
      starts: text("starts") || null, ends: text("ends") || null,
      max_decisions: text("max_decisions") === "" ? null : Number(text("max_decisions")),
      traffic: numbers.length ? Object.fromEntries(numbers) : null,
    });
  };
  return (
    <form class="stack" onSubmit={submit}>
      <h2>Schedule and traffic</h2>
      {field("starts", "Starts", "A date in ISO 8601, such as 2026-03-01T09:00; empty: at once", "text")}
      {field("ends", "Ends", "Empty: never", "text")}
      {field("max_decisions", "Most decisions", "Empty: any number")}
      {field("floor", "Floor", "The least probability of each arm, from 0 to 1 / number of arms")}
      {field("burn_in", "Burn-in", "Arms are drawn evenly until so many decisions")}
      {field("holdout", "Holdout", "The share of units that always get the control, from 0 to 1")}
      {field("ramp", "Ramp", "The share of units that are in the experiment, from 0 to 1")}
      <Failure error={error} />
      <button class="main" disabled={busy !== "" || Object.keys(typed).length === 0}>Save</button>
    </form>
  );
}

interface Said {
  date: string;
  guardrail?: Record<string, unknown>;
  promoted?: Record<string, unknown>;
}

function Guardrails({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const { busy, error, edit } = useEdit(experiment, reload);
  const rails = experiment.guardrails ?? [], off = experiment.off ?? [];
  const found = useLoad(async (signal) => {
    const rows = await call("GET /stats/{exp_id}/log", { path: { exp_id: experiment.id }, query: { limit: LOOKED }, signal });
    return (rows as unknown as Said[]).filter((row) => row.guardrail ?? row.promoted);
  }, [experiment.id], [experiment.revision]);
  return (
    <>
      <h2>Guardrails</h2>
      {rails.length === 0 ? <p class="quiet">None is declared: no metric of an arm stops it.</p> : (
        <Table title="What arms must not do" rows={rails} keyOf={(one) => `${one.metric} ${one.harm}`} columns={[
          { name: "Metric", cell: (one) => one.metric },
          { name: "Harm", cell: (one) => one.harm },
          { name: "Bound", number: true, cell: (one) => number(one.bound ?? 0) },
          { name: "Then", cell: (one) => ((one.then ?? "arm") === "arm" ? "the arm is switched off" : "the experiment is paused") },
        ]} />
      )}
      {off.map((arm) => (
        <p key={arm} class="note">
          {arm} is switched off; the control is served in its place.{" "}
          <button type="button" class="small" disabled={busy !== ""} onClick={() => edit("On", { off: off.length > 1 ? off.filter((one) => one !== arm) : null })}>Switch {arm} on</button>
        </p>
      ))}
      <Failure error={error} />
      <Show of={found} what="Reading what tripped">
        {(rows) => rows.length === 0 ? <p class="quiet">Nothing in the newest {number(LOOKED)} rows of its log says that one tripped.</p> : (
          <ul class="bare stack">
            {rows.map((row, i) => <li key={i}><Time at={row.date} /> {row.guardrail ? "tripped" : "promoted"}: <code>{json(row.guardrail ?? row.promoted)}</code></li>)}
          </ul>
        )}
      </Show>
    </>
  );
}

function Beside({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const { busy, error, edit } = useEdit(experiment, reload);
  const [asked, ask] = useState(0);
  const found = useLoad(async (signal) => (asked ? call("GET /stats/{exp_id}/inference", { path: { exp_id: experiment.id }, signal }) : undefined), [experiment.id], [asked]);
  const shadow = found.data?.shadow;
  if (!experiment.shadow) return <><h2>Shadow</h2><p class="quiet">The code decides. With <code>shadow</code> declared, your present system would, and the code beside it.</p></>;
  const auto = typeof experiment.shadow === "object" && experiment.shadow.auto_promote;
  return (
    <>
      <h2>Shadow</h2>
      <p>Your present system decides, and the code beside it.{auto && " The code takes over by itself once it is surely better."}</p>
      <div class="row">
        <button type="button" disabled={asked > 0 && found.loading} onClick={() => ask(asked + 1)}>{asked ? "Compare again" : "Compare both"}</button>
        <button type="button" disabled={busy !== ""} onClick={() => edit("Promote", { shadow: null })}>Let the code decide</button>
      </div>
      <Failure error={error} />
      {asked > 0 && (
        <Show of={found} what="Reading the log and comparing both">
          {() => shadow ? <Compared of={shadow as Record<string, unknown>} /> : <p class="quiet">No decision of both was logged yet.</p>}
        </Show>
      )}
    </>
  );
}

function Compared({ of }: { of: Record<string, unknown> }) {
  const told = (one: unknown) => {
    if (typeof one === "number") return number(one);
    const { estimate, low, high } = (one ?? {}) as { estimate?: number; low?: number; high?: number };
    return typeof low === "number" ? `${number(estimate)} (${number(low)} to ${number(high)})` : number(estimate);
  };
  return (
    <>
      <dl class="facts">
        <div><dt>Agreement</dt><dd>{percent(of.agreement)}</dd></div>
        <div><dt>Present system earned</dt><dd>{told(of.baseline)}</dd></div>
        <div><dt>Code would have earned</dt><dd>{told(of.value)}</dd></div>
        <div><dt>Difference</dt><dd>{told(of.difference)}</dd></div>
      </dl>
      {typeof of.reason === "string" && <p class="note">{of.reason}</p>}
    </>
  );
}
