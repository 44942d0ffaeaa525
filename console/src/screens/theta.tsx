// What an experiment has learned, as a table and over time; and forgetting it.
import { useState } from "preact/hooks";
import { ApiError, call, type Answer } from "../api";
import { LineChart } from "../charts/line";
import { filter, route } from "../router";
import { Choice, Destroy, Empty, Failure, Field, Show, Table, useAct, useLoad } from "../ui";
import { json, look, number } from "../values";
import type { Experiment } from "./experiment";

type WholeTheta = Answer<"GET /exp/{exp_id}/theta">;
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
            </>
          );
        }}
      </Show>
      <OverTime experiment={experiment} reload={found.reload} />
      <Reset experiment={experiment} reload={found.reload} />
    </>
  );
}

interface Snapshot {
  date: string;
  theta: Record<string, unknown>;
  named?: Record<string, unknown>;
}

function OverTime({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const [wanted, set] = useState<string>();
  const found = useLoad((signal) => call("GET /stats/{exp_id}/hourlytheta", { path: { exp_id: experiment.id }, query: { limit: 168 }, signal }), [experiment.id]);
  if (!experiment.hourly_theta) return <p class="quiet">Theta over time is there for experiments with <code>hourly_theta</code>.</p>;
  return (
    <section class="panel">
      <Show of={found} what="Reading the hourly snapshots">
        {(rows) => {
          const snapshots = rows as unknown as Snapshot[];
          const old = [...snapshots].reverse().map((one) => ({ at: Date.parse(one.date) / 1000, rows: rowsOf(one.theta) }));
          const numbers = old.flatMap((one) => one.rows.filter((row) => typeof row.value === "number"));
          const fields = [...new Set(numbers.map((row) => row.field))], field = wanted ?? fields[0] ?? "";
          const keys = [...new Set(numbers.filter((row) => row.field === field).map((row) => row.key))].slice(0, 10);
          return old.length === 0 ? <p class="quiet">The first hourly snapshot is still to come.</p> : (
            <>
              <Choice label="Field" value={field} options={fields} onChange={set} />
              <LineChart title={`Theta by the hour: ${field}`} x="time" y={field} time xs={old.map((one) => one.at)}
                series={keys.map((key, i) => ({ name: key || field, ...look(i), values: old.map((one) => { const v = one.rows.find((row) => row.key === key && row.field === field)?.value; return typeof v === "number" ? v : null; }) }))} />
              <Restore experiment={experiment} snapshots={snapshots} reload={reload} />
            </>
          );
        }}
      </Show>
    </section>
  );
}

/** Theta as a snapshot has it. */
function Restore({ experiment, snapshots, reload }: { experiment: Experiment; snapshots: Snapshot[]; reload: () => void }) {
  const path = { exp_id: experiment.id };
  const [date, setDate] = useState(snapshots[0]!.date);
  const work = async () => {
    const { theta, named } = snapshots.find((one) => one.date === date)!;
    const { version } = await call("GET /exp/{exp_id}/theta", { path });
    await call("PUT /exp/{exp_id}/theta", { path, body: { version, theta, ...(named ? { named } : {}) } });
    reload();
  };
  return (
    <div class="row">
      <Choice label="Snapshot" value={date} options={snapshots.map((one) => [one.date, new Date(one.date).toLocaleString()])} onChange={setDate} />
      <Destroy label="Bring it back" name={experiment.name} about={`Sets all of theta to what it was at ${date}. What was learned since is gone.`} act={work} />
    </div>
  );
}

function Reset({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const [key, setKey] = useState(""), [value, setValue] = useState("");
  const [before, setBefore] = useState<WholeTheta>();
  const doing = useAct();
  const path = { exp_id: experiment.id };
  const work = async () => {
    const whole = await call("GET /exp/{exp_id}/theta", { path }).catch((error: unknown) => {
      // More than one answer holds cannot be put back by one request.
      if (error instanceof ApiError && error.status === 413) return undefined;
      throw error;
    });
    const query = { key: experiment.key, theta_key: key, theta_value: value };
    await call("GET /exp/{exp_id}/resetexperiment", { path, query });
    setBefore(whole);
    reload();
  };
  const undo = () => void doing.act("Putting it back", async () => {
    const { version } = await call("GET /exp/{exp_id}/theta", { path });
    await call("PUT /exp/{exp_id}/theta", { path, body: { version, rows: before!.rows } });
    setBefore(undefined);
    reload();
  });
  return (
    <section class="panel">
      <h2>Forget</h2>
      <p class="quiet">Deletes what was learned: all of it, or what stands under one key, or one key and value.</p>
      <div class="row">
        <Field label="Key (empty: all of theta)" value={key} onInput={(e) => setKey(e.currentTarget.value)} />
        <Field label="Value (empty: all of the key)" value={value} onInput={(e) => setValue(e.currentTarget.value)} />
        <Destroy label="Forget" name={experiment.name} about={key ? `Deletes what is stored under ${key}${value ? `:${value}` : ""}.` : "Deletes all of theta and drops decisions that wait for their reward."} act={work} />
      </div>
      {before && (
        <div class="row" role="status">
          <span>Theta was forgotten. Until you leave this page it can be put back as it was, over what is learned meanwhile; decisions that were dropped stay so.</span>
          <button type="button" disabled={doing.busy !== ""} onClick={undo}>{doing.busy || "Undo"}</button>
        </div>
      )}
      <Failure error={doing.error} />
    </section>
  );
}
