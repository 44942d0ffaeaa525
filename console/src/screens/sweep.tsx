// Distributions in, bands out.
import { useState } from "preact/hooks";
import { call, follow } from "../api";
import { LineChart } from "../charts/line";
import { href, route } from "../router";
import { Choice, Failure, Field, Show, useAct, useLoad, Waiting } from "../ui";
import { look, number } from "../values";
import type { Model } from "./models";

const DISTRIBUTIONS: Record<string, string[]> = { uniform: ["low", "high"], normal: ["mean", "sd"], triangular: ["low", "mode", "high"] };
interface Chosen {
  distribution: string;
  numbers: Record<string, string>;
}
type Times = Record<string, number | null>;
interface Result {
  runs: number;
  seed: number;
  bands: Record<string, { mean: Times; min: Times; max: Times; quantiles: Record<string, Times> }>;
}

export function Sweep({ name }: { name: string }) {
  const found = useLoad((signal) => call("GET /models/{model}", { path: { model: name }, signal }), [name]);
  return <Show of={found} what="Reading the model">{(model) => <Form model={model as unknown as Model} />}</Show>;
}

function Form({ model }: { model: Model }) {
  const { query } = route.value;
  const manager = query.get("manager") ?? Object.keys(model.scenario_managers)[0] ?? "";
  const scenario = query.get("scenario") ?? model.scenario_managers[manager]?.[0] ?? "";
  const kinds = model.equations[manager] ?? {};
  const curves = [...(kinds.stocks ?? []), ...(kinds.flows ?? []), ...(kinds.converters ?? [])];
  const [equation, setEquation] = useState(curves[0] ?? "");
  const [chosen, setChosen] = useState<Record<string, Chosen>>({});
  const [runs, setRuns] = useState("100"), [seed, setSeed] = useState("1");
  const [progress, setProgress] = useState({ done: 0, total: 0 });
  const [result, setResult] = useState<Result>();
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Sweeping", async () => {
      const parameters = Object.fromEntries(Object.entries(chosen).map(([constant, { distribution, numbers }]) => [constant, { distribution, ...Object.fromEntries(DISTRIBUTIONS[distribution]!.map((one) => [one, Number(numbers[one])])) }]));
      const body = { scenario_manager: manager, scenario, equations: [equation], parameters, runs: Number(runs), seed: Number(seed), quantiles: [0.05, 0.25, 0.5, 0.75, 0.95], background: true };
      const job = (await call("POST /sweep", { body })) as unknown as { id: string };
      setResult(await follow<Result>(job.id, (done, total) => setProgress({ done, total })));
    });
  };
  const change = (constant: string, to?: Chosen) => {
    const { [constant]: _, ...others } = chosen;
    setChosen(to ? { ...others, [constant]: to } : others);
  };
  return (
    <>
      <div class="head"><h1>Sweep {model.name}</h1><a href={href(["models", model.name], { manager, scenario })}>Back to the player</a></div>
      <form class="panel stack" onSubmit={submit}>
        <div class="row">
          <Choice label="Curve" value={equation} options={curves} onChange={setEquation} />
          <Field label="Runs" type="number" min="1" value={runs} onInput={(e) => setRuns(e.currentTarget.value)} />
          <Field label="Seed" type="number" min="0" value={seed} onInput={(e) => setSeed(e.currentTarget.value)} />
        </div>
        {(kinds.constants ?? []).map((constant) => {
          const one = chosen[constant];
          return (
            <fieldset key={constant}>
              <legend>{constant}</legend>
              <div class="row">
                <Choice label={`Distribution of ${constant}`} value={one?.distribution ?? ""} options={Object.keys(DISTRIBUTIONS)} empty="as in the scenario" onChange={(distribution) => change(constant, distribution ? { distribution, numbers: one?.numbers ?? {} } : undefined)} />
                {one && DISTRIBUTIONS[one.distribution]!.map((part) => (
                  <Field key={part} label={`${part} of ${constant}`} type="number" step="any" required value={one.numbers[part] ?? ""} onInput={(e) => change(constant, { ...one, numbers: { ...one.numbers, [part]: e.currentTarget.value } })} />
                ))}
              </div>
            </fieldset>
          );
        })}
        <Failure error={doing.error} />
        <div><button class="main" disabled={doing.busy !== "" || !Object.keys(chosen).length}>{doing.busy || "Sweep"}</button></div>
        {doing.busy && <Waiting what={progress.total ? `${number(progress.done)} of ${number(progress.total)} runs` : "Waiting for a worker"} progress={progress} />}
      </form>
      {result && Object.entries(result.bands).map(([curve, band]) => {
        const times = Object.keys(band.mean).sort((a, b) => Number(a) - Number(b));
        const of = (values: Times | undefined) => times.map((at) => values?.[at] ?? null);
        return (
          <section key={curve} class="panel">
            <LineChart title={`${curve} over ${number(result.runs)} runs`} x="time of the model" y={curve} xs={times.map(Number)} height={300} note={`Bands: 90 % and 50 % of the runs. Seed ${result.seed}.`} series={[
              { name: "mean", ...look(1), values: of(band.mean) },
              { name: "median, 90 %", ...look(0), values: of(band.quantiles["0.5"]), low: of(band.quantiles["0.05"]), high: of(band.quantiles["0.95"]) },
              { name: "median, 50 %", ...look(0), values: of(band.quantiles["0.5"]), low: of(band.quantiles["0.25"]), high: of(band.quantiles["0.75"]) },
            ]} />
          </section>
        );
      })}
    </>
  );
}
