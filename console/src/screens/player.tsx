// A model as something to play with: constants as sliders, equations and states of agents as curves, one or two scenarios.
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../api";
import { LineChart, type Series } from "../charts/line";
import { filter, href, route } from "../router";
import { Choice, Failure, Show, useAct, useLoad, Waiting } from "../ui";
import { look, number } from "../values";
import type { Model } from "./models";

type At = Record<string, number | null>;
/** By manager and scenario: equations, and states of agents by their type. */
type Steps = Record<string, Record<string, Record<string, At> & { agents?: Record<string, Record<string, At>> }>>;
type Agents = Record<string, { states: string[] }>;
type Values = Record<string, number>;
const CURVES = 6;

/** The curve of how many agents of a type are in a state. */
function curveOf(type: string, state: string): string {
  return `${type}: ${state}`;
}

/** What a step says of a curve: its time and value. */
function told(one: Steps, manager: string, scenario: string, curve: string): [string, number | null] | undefined {
  const { agents, ...equations } = one[manager]?.[scenario] ?? {};
  const counts = Object.entries(agents ?? {}).flatMap(([type, states]) => Object.entries(states).map(([state, at]) => [curveOf(type, state), at] as const));
  return Object.entries(Object.fromEntries([...Object.entries(equations as Record<string, At>), ...counts])[curve] ?? {})[0];
}

export function Player({ name }: { name: string }) {
  const found = useLoad((signal) => call("GET /models/{model}", { path: { model: name }, signal }), [name]);
  return <Show of={found} what="Reading the model">{(model) => <Managers model={model as unknown as Model} />}</Show>;
}

function Managers({ model }: { model: Model }) {
  const managers = Object.keys(model.scenario_managers);
  const manager = route.value.query.get("manager") ?? managers[0] ?? "";
  const names = model.scenario_managers[manager] ?? [];
  const scenario = route.value.query.get("scenario") ?? names[0] ?? "";
  const beside = route.value.query.get("beside") ?? "";
  return (
    <>
      <div class="head">
        <h1>{model.name}</h1>
        <a href={href(["models", model.name, "sweep"], { manager, scenario })}>Sweep its constants</a>
        <a href={href(["runs"], { model: model.name })}>Runs of it</a>
      </div>
      <div class="row">
        {managers.length > 1 && <Choice label="Scenario manager" value={manager} options={managers} onChange={(value) => filter({ manager: value, scenario: "", beside: "" })} />}
        <Choice label="Scenario" value={scenario} options={names} onChange={(value) => filter({ scenario: value })} />
        <Choice label="Beside it" value={beside} options={names.filter((one) => one !== scenario)} empty="no other" onChange={(value) => filter({ beside: value })} />
      </div>
      <Board key={`${manager}/${scenario}/${beside}`} manager={manager} agents={(model.agents[manager] ?? {}) as Agents} scenarios={beside ? [scenario, beside] : [scenario]} />
    </>
  );
}

/** What constants are before anything is set: their values at the start. */
async function constants(manager: string, scenarios: string[], names: string[], signal: AbortSignal): Promise<Record<string, Values>> {
  if (!names.length) return Object.fromEntries(scenarios.map((one) => [one, {}]));
  const answer = (await call("POST /run", { body: { scenario_managers: [manager], scenarios, equations: names }, signal })) as Record<string, Record<string, { equations: Record<string, Record<string, number>> }>>;
  return Object.fromEntries(scenarios.map((one) => [one, Object.fromEntries(names.flatMap((name) => {
    const first = Object.values(answer[manager]?.[one]?.equations[name] ?? {})[0];
    return typeof first === "number" ? [[name, first]] : [];
  }))]));
}

function Board({ manager, scenarios, agents }: { manager: string; scenarios: string[]; agents: Agents }) {
  const found = useLoad(async (signal) => {
    const kinds = (await call("POST /equations", { body: { scenarioManager: manager, scenario: scenarios[0] }, signal })) as Record<string, string[]>;
    const curves = [...(kinds.stocks ?? []), ...(kinds.flows ?? []), ...(kinds.converters ?? [])];
    const counted = Object.entries(agents).flatMap(([type, { states }]) => states.map((state) => curveOf(type, state)));
    return { equations: curves, curves: [...curves, ...counted], begin: await constants(manager, scenarios, kinds.constants ?? [], signal) };
  }, []);
  return <Show of={found} what="Loading the model">{({ equations, curves, begin }) => <Play manager={manager} scenarios={scenarios} agents={agents} equations={equations} curves={curves} begin={begin} />}</Show>;
}

function Play({ manager, scenarios, agents, equations, curves, begin }: {
  manager: string; scenarios: string[]; agents: Agents; equations: string[]; curves: string[]; begin: Record<string, Values>;
}) {
  const chosen = route.value.query.get("curves")?.split("|").filter((one) => curves.includes(one)) ?? curves.slice(0, Math.min(2, CURVES));
  const [values, setValues] = useState(begin);
  const [steps, setSteps] = useState<Steps[]>([]);
  const [over, setOver] = useState(false);
  const [playing, setPlaying] = useState(false);
  const instance = useRef("");
  const sent = useRef<Record<string, Values>>(begin);
  const doing = useAct();

  const types = Object.keys(agents);
  const states = types.length ? { agents: types, agent_states: [...new Set(types.flatMap((type) => agents[type]!.states))] } : {};
  const start = async () => {
    if (!instance.current) instance.current = ((await call("POST /start-instance", { body: { timeout: { minutes: 30 } } })) as { instance_uuid: string }).instance_uuid;
    await call("POST /{instance}/begin-session", { path: { instance: instance.current }, body: { scenario_managers: [manager], scenarios, equations, ...states } });
    sent.current = begin;
    setSteps([]);
    setOver(false);
  };
  /** What was moved since the last step. */
  const settings = () => {
    const moved = Object.fromEntries(scenarios.flatMap((scenario) => {
      const changed = Object.entries(values[scenario] ?? {}).filter(([name, value]) => value !== sent.current[scenario]?.[name]);
      return changed.length ? [[scenario, { constants: Object.fromEntries(changed) }]] : [];
    }));
    sent.current = values;
    return { [manager]: moved };
  };
  const step = () => doing.act("One step", async () => {
    const answer = (await call("POST /{instance}/run-step", { path: { instance: instance.current }, body: { settings: settings() } })) as Steps | { msg: string };
    if ("msg" in answer) {
      setOver(true);
      setPlaying(false);
    } else setSteps((old) => [...old, answer as Steps]);
  });
  const toTheEnd = () => doing.act("Running to the end", async () => {
    const answer = (await call("POST /{instance}/run-steps", { path: { instance: instance.current }, body: { numberSteps: 1000, settings: settings() } })) as (Steps | { msg: string })[] | { msg: string };
    const list = Array.isArray(answer) ? answer : [answer];
    setSteps((old) => [...old, ...list.filter((one): one is Steps => !("msg" in one))]);
    if (list.some((one) => "msg" in one) || list.length < 1000) setOver(true);
  });
  const reset = () => doing.act("Beginning anew", start);

  useEffect(() => {
    void doing.act("Starting an instance", start);
    return () => {
      const id = instance.current;
      if (id) void call("POST /{instance}/stop-instance", { path: { instance: id } }).catch(() => undefined);
    };
  }, []);
  useEffect(() => {
    if (!playing || doing.busy || over) return;
    const timer = setTimeout(step, 400);
    return () => clearTimeout(timer);
  }, [playing, doing.busy, steps.length]);

  const times = steps.map((one) => Number(told(one, manager, scenarios[0]!, curves[0] ?? "")?.[0]));
  const series: Series[] = chosen.slice(0, CURVES).flatMap((curve, i) =>
    scenarios.map((scenario, j) => ({
      name: scenarios.length > 1 ? `${curve}, ${scenario}` : curve,
      colour: look(i).colour,
      dash: j ? [6, 4] : [],
      values: steps.map((one) => told(one, manager, scenario, curve)?.[1] ?? null),
    })),
  );
  const busy = doing.busy !== "";
  return (
    <div class="side">
      <section class="panel stack">
        <div class="row">
          <button type="button" class="main" disabled={over} onClick={() => setPlaying(!playing)}>{playing ? "Pause" : "Play"}</button>
          <button type="button" disabled={busy || over || playing} onClick={() => void step()}>Step</button>
          <button type="button" disabled={busy || over || playing} onClick={() => void toTheEnd()}>Run</button>
          <button type="button" disabled={busy} onClick={() => { setPlaying(false); void reset(); }}>Reset</button>
          <span class="quiet" role="status">{over ? `At the stop time ${number(times.at(-1))}` : times.length ? `Time ${number(times.at(-1))}` : "Before the first step"}</span>
        </div>
        {busy && !playing && <Waiting what={doing.busy} />}
        <Failure error={doing.error} />
        <LineChart title={`${chosen.join(", ") || "No curve"} of ${scenarios.join(" and ")}`} x="time of the model" y="value" xs={times} series={series} height={300}
          note={scenarios.length > 1 ? `Solid: ${scenarios[0]}; dashed: ${scenarios[1]}.` : undefined} />
        <fieldset>
          <legend>Curves, at most {CURVES}</legend>
          <div class="row">
            {curves.map((curve) => {
              const on = chosen.includes(curve);
              return (
                <label key={curve} class="check">
                  <input type="checkbox" checked={on} disabled={!on && chosen.length >= CURVES} onChange={() => filter({ curves: (on ? chosen.filter((one) => one !== curve) : [...chosen, curve]).join("|") })} />{curve}
                </label>
              );
            })}
          </div>
        </fieldset>
      </section>
      <div class="stack">
        {scenarios.map((scenario) => (
          <fieldset key={scenario} class="panel">
            <legend>Constants of {scenario}</legend>
            {Object.keys(begin[scenario] ?? {}).length === 0 && <p class="quiet">It has none that are single numbers.</p>}
            {Object.entries(begin[scenario] ?? {}).map(([name, first]) => (
              <Slider key={name} label={scenarios.length > 1 ? `${name} of ${scenario}` : name} first={first} value={values[scenario]?.[name] ?? first}
                onChange={(value) => setValues((old) => ({ ...old, [scenario]: { ...old[scenario], [name]: value } }))} />
            ))}
            <p class="quiet">What is moved before the first step holds from the beginning, later from the next step on.</p>
          </fieldset>
        ))}
      </div>
    </div>
  );
}

function Slider({ label, first, value, onChange }: { label: string; first: number; value: number; onChange: (value: number) => void }) {
  const span = Math.abs(first) || 1;
  const low = first < 0 ? 2 * first : 0, high = first < 0 ? 0 : 2 * span;
  const change = (text: string) => text !== "" && Number.isFinite(Number(text)) && onChange(Number(text));
  return (
    <div class="field">
      <label>{label}
        <input type="range" min={Math.min(low, value)} max={Math.max(high, value)} step={span / 50} value={value} onInput={(e) => change(e.currentTarget.value)} />
      </label>
      <div class="row">
        <input type="number" aria-label={`${label} as a number`} step="any" value={value} onChange={(e) => change(e.currentTarget.value)} />
        {value !== first && <button type="button" class="small" onClick={() => onChange(first)}>back to {number(first)}</button>}
      </div>
    </div>
  );
}
