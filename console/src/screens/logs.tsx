// Rows of an experiment's logs: filtered, in detail, and all of them as a file.
import { useEffect, useState } from "preact/hooks";
import { address, fetched, type Name } from "../api";
import { filter, route } from "../router";
import { Choice, Empty, Failure, Field, Table, Time, useAct, Waiting, type Column } from "../ui";
import { json, newest } from "../values";
import type { Experiment } from "./experiment";

type Row = Record<string, unknown>;
const KINDS: Record<string, [string, Name, string[]]> = {
  action: ["decisions", "GET /stats/{exp_id}/actionlog", ["context", "action", "propensity"]],
  reward: ["rewards", "GET /stats/{exp_id}/rewardlog", ["context", "action", "reward"]],
  manual: ["what the code logged", "GET /stats/{exp_id}/log", []],
  error: ["errors", "GET /stats/{exp_id}/errorlog", ["call", "message", "detail"]],
  simulation: ["simulated draws", "GET /stats/{exp_id}/simulationlog", ["draw", "context", "action", "reward"]],
};
const PAGE = 50;

export function Logs({ experiment }: { experiment: Experiment }) {
  const { query } = route.value;
  const kind = KINDS[query.get("kind") ?? "action"] ? (query.get("kind") ?? "action") : "action";
  const from = query.get("from") ?? "", to = query.get("to") ?? "", search = query.get("search") ?? "";
  const [words, name, fields] = KINDS[kind]!;
  const [rows, setRows] = useState<Row[]>([]);
  const [before, setBefore] = useState("");
  const [read, setRead] = useState(false);
  const doing = useAct();
  const path = { exp_id: experiment.id };
  const more = (rest: Row[], at: string, signal?: AbortSignal) =>
    doing.act(`Reading ${words}`, async () => {
      const { answer, headers } = await fetched(name, { path, query: { limit: PAGE, before: at, from, to }, signal });
      setRows([...rest, ...(answer as Row[])]);
      setBefore(/[?&]before=([^&>]+)/.exec(headers.get("Link") ?? "")?.[1] ?? "");
      setRead(true);
    });
  useEffect(() => {
    const control = new AbortController();
    setRows([]);
    setRead(false);
    void more([], "", control.signal);
    return () => control.abort();
  }, [kind, from, to]);
  const matching = search ? rows.filter((row) => json(row).toLowerCase().includes(search.toLowerCase())) : rows;
  const cell = (value: unknown) => (value === undefined ? "" : typeof value === "string" ? value : <code>{json(value)}</code>);
  const shown = fields.length ? fields : [...new Set(rows.slice(0, 50).flatMap((row) => Object.keys(row)))].filter((one) => !["id", "exp_id", "date"].includes(one)).slice(0, 6);
  const columns: Column<Row>[] = [
    { name: "When", cell: (row) => <Time at={String(row.date)} />, data: (row) => row.date },
    ...shown.map((field) => ({ name: field, cell: (row: Row) => cell(row[field]), data: (row: Row) => row[field] })),
    { name: "All of it", cell: (row) => <details><summary>row</summary><pre>{json(row, 1)}</pre></details>, data: json },
  ];
  const file = (form: string) => address(name, { path, query: { format: form, from, to } });
  return (
    <>
      <div class="row">
        <Choice label="Log" value={kind} options={Object.entries(KINDS).map(([key, [text]]) => [key, text] as [string, string])} onChange={(value) => filter({ kind: value })} />
        <Field label="From (UTC)" type="datetime-local" value={from} onChange={(e) => filter({ from: e.currentTarget.value })} />
        <Field label="Until (UTC)" type="datetime-local" value={to} onChange={(e) => filter({ to: e.currentTarget.value })} />
        <Field label="Search what is shown" type="search" value={search} onInput={(e) => filter({ search: e.currentTarget.value })} />
        <a class="button" href={file("csv")} download={`${experiment.name}-${kind}.csv`}>All rows as CSV</a>
        <a class="button" href={file("json")} download={`${experiment.name}-${kind}.json`}>as JSON</a>
        <a class="button" href={file("jsonl")} download={`${experiment.name}-${kind}.jsonl`}>as JSON lines</a>
      </div>
      <Failure error={doing.error} retry={() => void more(rows, before)} />
      {read && rows.length === 0 && <Empty>No {words}{from || to ? " in this time" : " yet"}.</Empty>}
      {rows.length > 0 && <Table title={search ? `${matching.length} of the ${rows.length} rows that are shown` : newest(rows.length, "row")} columns={columns} rows={matching} keyOf={(row) => String(row.id ?? json(row))} file={`${experiment.name}-${kind}`} />}
      {doing.busy ? <Waiting what={doing.busy} /> : before && <p><button type="button" onClick={() => void more(rows, before)}>Older rows</button></p>}
    </>
  );
}
