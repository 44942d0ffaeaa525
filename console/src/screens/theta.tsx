// What an experiment has learned, as a table and over time; and forgetting it.
import { useState } from "preact/hooks";
import { call } from "../api";
import { LineChart } from "../charts/line";
import { filter, route } from "../router";
import { Choice, Destroy, Empty, Failure, Field, Show, Table, useAct, useLoad } from "../ui";
import { json, look, number } from "../values";
import type { Experiment } from "./experiment";

interface Row {
  key: string;
  field: string;
  value: unknown;
}
const SHOWN = 500;

/** Theta as rows; a keyless dict has no keys but fields. */
function rowsOf(theta: Record<string, unknown>): Row[] {
  return Object.entries(theta).flatMap(([key, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? Object.entries(value).map(([field, inner]) => ({ key, field, value: inner }))
      : [{ key: "", field: key, value }],
  );
}

export function Theta({ experiment }: { experiment: Experiment }) {
  const { id } = experiment;
  const name = route.value.query.get("name") ?? "", search = route.value.query.get("search") ?? "";
  const found = useLoad((signal) => call("GET /stats/{exp_id}/currenttheta", { path: { exp_id: id }, query: { name }, signal }), [id, name]);
  return (
    <>
      <div class="row">
        <Field label="Search key or field" type="search" value={search} onInput={(e) => filter({ search: e.currentTarget.value })} />
        <Field label="Name of the set" value={name} placeholder="theta" onChange={(e) => filter({ name: e.currentTarget.value })} />
        <button type="button" onClick={found.reload}>Read again</button>
      </div>
      <Show of={found} what="Reading theta">
        {(theta) => {
          const rows = rowsOf(theta as Record<string, unknown>);
          const matching = rows.filter((row) => `${row.key} ${row.field}`.toLowerCase().includes(search.toLowerCase()));
          return rows.length === 0 ? (
            <Empty><h2>Nothing learned yet</h2><p>Theta is empty: no reward has reached <code>set_reward</code>, or it stores nothing.</p></Empty>
          ) : (
            <>
              <Table title={`Theta: ${number(matching.length)} of ${number(rows.length)} values`} file={`theta-${id}`} rows={matching.slice(0, SHOWN)} keyOf={(row) => `${row.key}.${row.field}`} columns={[
                { name: "Key", cell: (row) => row.key, data: (row) => row.key },
                { name: "Field", cell: (row) => row.field, data: (row) => row.field },
                { name: "Value", number: true, cell: (row) => (typeof row.value === "number" ? <span title={String(row.value)}>{number(row.value, 4)}</span> : <code>{json(row.value).slice(0, 200)}</code>), data: (row) => row.value },
              ]} />
              {matching.length > SHOWN && <p class="quiet">The first {SHOWN} are shown; search finds the others.</p>}
              <OverTime experiment={experiment} fields={[...new Set(rows.filter((r) => typeof r.value === "number").map((r) => r.field))]} />
            </>
          );
        }}
      </Show>
      <Reset experiment={experiment} reload={found.reload} />
    </>
  );
}

function OverTime({ experiment, fields }: { experiment: Experiment; fields: string[] }) {
  const [field, set] = useState(fields[0] ?? "");
  const found = useLoad((signal) => call("GET /stats/{exp_id}/hourlytheta", { path: { exp_id: experiment.id }, query: { limit: 168 }, signal }), [experiment.id]);
  if (!experiment.hourly_theta) return <p class="quiet">Theta over time is there for experiments with <code>hourly_theta</code>.</p>;
  return (
    <section class="panel">
      <Show of={found} what="Reading the hourly snapshots">
        {(rows) => {
          const old = [...(rows as unknown as { date: string; theta: Record<string, Record<string, unknown>> }[])].reverse();
          const keys = [...new Set(old.flatMap((row) => Object.keys(row.theta)))].slice(0, 10);
          return old.length === 0 ? <p class="quiet">The first hourly snapshot is still to come.</p> : (
            <>
              <Choice label="Field" value={field} options={fields} onChange={set} />
              <LineChart title={`Theta by the hour: ${field}`} x="time" y={field} time xs={old.map((row) => Date.parse(row.date) / 1000)}
                series={keys.map((key, i) => ({ name: key, ...look(i), values: old.map((row) => { const v = row.theta[key]?.[field]; return typeof v === "number" ? v : null; }) }))} />
            </>
          );
        }}
      </Show>
    </section>
  );
}

function Reset({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const [key, setKey] = useState(""), [value, setValue] = useState("");
  const doing = useAct();
  const work = async () => {
    const query = { key: experiment.key, theta_key: key, theta_value: value };
    await call("GET /exp/{exp_id}/resetexperiment", { path: { exp_id: experiment.id }, query });
    reload();
  };
  return (
    <section class="panel">
      <h2>Forget</h2>
      <p class="quiet">Deletes what was learned: all of it, or what stands under one key, or one key and value.</p>
      <div class="row">
        <Field label="Key (empty: all of theta)" value={key} onInput={(e) => setKey(e.currentTarget.value)} />
        <Field label="Value (empty: all of the key)" value={value} onInput={(e) => setValue(e.currentTarget.value)} />
        <Destroy label="Forget" name={experiment.name} about={key ? `Deletes what is stored under ${key}${value ? `:${value}` : ""}.` : "Deletes all of theta and drops decisions that wait for their reward."} act={work} />
      </div>
      <Failure error={doing.error} />
    </section>
  );
}
