// Several policies in one simulated environment, on the same random numbers.
import { useState } from "preact/hooks";
import { call, follow } from "../api";
import { LineChart, type Series } from "../charts/line";
import { Forest } from "../charts/forest";
import { Shares } from "../charts/shares";
import type { Comparison } from "../openapi";
import { Choice, Failure, Field, useAct, useDraft, Waiting } from "../ui";
import { look, number } from "../values";
import type { Named } from "./evaluate";

interface Band {
  mean: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}
interface Policy {
  reward: Band;
  regret: Band | null;
  arms: Record<string, (number | null)[]>;
}

export function Compare({ names }: { names: Named[] }) {
  const [form, setForm] = useDraft("compare", { chosen: [] as string[], environment: "", N: "500", replications: "20", seed: "1" });
  const chosen = form.chosen.filter((id) => names.some(([one]) => one === id));
  const [progress, setProgress] = useState({ done: 0, total: 0 });
  const [result, setResult] = useState<Comparison>();
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Comparing", async () => {
      setProgress({ done: 0, total: 0 });
      const body = { experiments: chosen, environment: form.environment || chosen[0], N: Number(form.N), replications: Number(form.replications), seed: Number(form.seed) };
      const job = (await call("POST /eval/comparisons", { body })) as unknown as { id: string };
      setResult(await follow<Comparison>(job.id, (done, total) => setProgress({ done, total })));
    });
  };
  const toggle = (id: string) => setForm({ ...form, chosen: chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id] });
  return (
    <>
      <form class="panel stack" onSubmit={submit}>
        <fieldset>
          <legend>Experiments to compare, two or more</legend>
          <div class="row">{names.map(([id, name]) => <label key={id} class="check"><input type="checkbox" checked={chosen.includes(id)} onChange={() => toggle(id)} />{name}</label>)}</div>
        </fieldset>
        <div class="row">
          <Choice label="Environment: whose contexts and rewards" value={form.environment} options={names} empty="the first one's" onChange={(environment) => setForm({ ...form, environment })} />
          <Field label="Draws" name="N" type="number" min="1" value={form.N} error={doing.error} onInput={(e) => setForm({ ...form, N: e.currentTarget.value })} />
          <Field label="Replications" name="replications" type="number" min="1" value={form.replications} error={doing.error} onInput={(e) => setForm({ ...form, replications: e.currentTarget.value })} />
          <Field label="Seed" name="seed" type="number" min="0" value={form.seed} error={doing.error} onInput={(e) => setForm({ ...form, seed: e.currentTarget.value })} />
          <button class="main" disabled={chosen.length < 2 || doing.busy !== ""}>{doing.busy || "Compare"}</button>
        </div>
        {doing.busy && <Waiting what={progress.total ? `${number(progress.done)} of ${number(progress.total)} draws` : "Waiting for a worker"} progress={progress} />}
        <Failure error={doing.error} />
      </form>
      {result && <Result result={result} />}
    </>
  );
}

function Result({ result }: { result: Comparison }) {
  const policies = Object.entries(result.policies as unknown as Record<string, Policy>);
  const series = (of: (policy: Policy) => Band | null): Series[] =>
    policies.flatMap(([name, policy], i) => {
      const band = of(policy);
      return band ? [{ name, ...look(i), values: band.mean, low: band.low, high: band.high }] : [];
    });
  const last = <T,>(values: T[]) => values.at(-1)!;
  const regret = series((policy) => policy.regret);
  const differences = (result.differences as unknown as { first: string; second: string; simultaneous: Band }[]).map((one) => ({
    name: `${one.first} − ${one.second}`, value: last(one.simultaneous.mean ?? []) ?? null, low: last(one.simultaneous.low) ?? null, high: last(one.simultaneous.high) ?? null,
  }));
  return (
    <>
      <div class="grid">
        <div class="panel"><LineChart title="Cumulative reward of each policy" x="draws" y="reward" xs={result.points} series={series((policy) => policy.reward)} note={`Band: 95 % over ${result.replications} replications. Seed ${result.seed}.`} /></div>
        {regret.length > 0 && <div class="panel"><LineChart title="Cumulative regret of each policy" x="draws" y="regret" xs={result.points} series={regret} /></div>}
        <div class="panel"><Forest title="Differences in cumulative reward at the end" x="first less second" rows={differences} mark={{ at: 0, name: "no difference" }} note="Intervals hold for all pairs together, at 95 %." /></div>
        {policies.map(([name, policy]) => (
          <div class="panel" key={name}><Shares title={`Shares of arms by ${name}`} x="draws" xs={result.points} series={Object.entries(policy.arms).slice(0, 20).map(([arm, values], i) => ({ name: arm, ...look(i), values }))} /></div>
        ))}
      </div>
    </>
  );
}
