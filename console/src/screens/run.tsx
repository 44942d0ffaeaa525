// One run: its variables as a tree that is edited in place, its operations as forms, what was done.
import { useState } from "preact/hooks";
import { call, session, type Answer } from "../api";
import { go, route } from "../router";
import { Copy, Failure, Field, Show, Table, useAct, useLoad } from "../ui";
import { json, typed } from "../values";

type Found = Answer<"GET /v2/model/introspect/{run}">;
const MOST = 200;

export function Run({ id }: { id: string }) {
  const project = route.value.query.get("project") || "console";
  const found = useLoad((signal) => call("GET /v2/model/introspect/{run}", { path: { run: id }, signal }), [id]);
  const [changes, changed] = useState(0);
  const doing = useAct();
  const state = (action: string) => async () => {
    const answer = (await call("POST /v2/model/state/{run}", { path: { run: id }, body: { action } })) as unknown as { run?: string };
    if (action === "clone" && answer.run) go(["runs", answer.run], { project });
    else changed(changes + 1);
  };
  return (
    <>
      <div class="head">
        <h1>Run <code>{id.slice(0, 8)}…</code></h1><Copy text={id} label="Copy id" />
        <button type="button" onClick={() => void doing.act("Cloning", state("clone"))}>Clone</button>
        <button type="button" onClick={() => void doing.act("Taking back", state("rewind"))}>Take back the last change</button>
      </div>
      <Failure error={doing.error} />
      <Show of={found} what="Reading what the run has">
        {(about) => (
          <div class="side">
            <Variables id={id} about={about} stamp={changes} onChange={() => changed(changes + 1)} />
            <div class="stack">
              <section class="panel"><h2>Operations</h2>
                {about.functions.length === 0 && <p class="quiet">The model has none.</p>}
                {about.functions.map((one) => <Operation key={String(one.name)} id={id} about={one as unknown as Function} onDone={() => changed(changes + 1)} />)}
              </section>
              <section class="panel"><Journal id={id} stamp={changes} /></section>
            </div>
          </div>
        )}
      </Show>
    </>
  );
}

function Variables({ id, about, stamp, onChange }: { id: string; about: Found; stamp: number; onChange: () => void }) {
  const names = about.variables.map((one) => String(one.name)).slice(0, MOST);
  const found = useLoad(
    async (signal) => (names.length ? call("GET /v2/model/variable/{run}", { path: { run: id }, query: { include: names.join(",") }, signal }) : {}),
    [id], [stamp],
  );
  return (
    <section class="panel">
      <h2>Variables</h2>
      {about.variables.length > MOST && <p class="quiet">The first {MOST} of {about.variables.length}.</p>}
      <Show of={found} what="Reading the variables">
        {(values) => (
          <ul class="bare stack">
            {Object.entries(values as Record<string, unknown>).map(([name, value]) => <Leaf key={name} id={id} path={name} name={name} value={value} onChange={onChange} />)}
          </ul>
        )}
      </Show>
    </section>
  );
}

function Leaf({ id, path, name, value, onChange }: { id: string; path: string; name: string; value: unknown; onChange: () => void }) {
  const account = session.value!.name, project = route.value.query.get("project") || "console";
  const [text, set] = useState<string>();
  const doing = useAct();
  if (value !== null && typeof value === "object" && Object.keys(value).length) {
    const list = Array.isArray(value);
    const entries = Object.entries(value).slice(0, MOST);
    return (
      <li>
        <details open={path === name}>
          <summary>{name} <span class="quiet">{list ? `${value.length} values` : `${Object.keys(value).length} fields`}</span></summary>
          <ul class="bare stack nested">{entries.map(([key, inner]) => <Leaf key={key} id={id} path={list ? `${path}[${key}]` : `${path}[${JSON.stringify(key)}]`} name={key} value={inner} onChange={onChange} />)}</ul>
        </details>
      </li>
    );
  }
  const shown = typeof value === "string" ? value : json(value);
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Setting", async () => {
      const body = { [path]: typeof value === "string" ? (text ?? shown) : typed(text ?? shown) };
      await call("PATCH /v2/run/{account}/{project}/{run}/variables", { path: { account, project, run: id }, body });
      set(undefined);
      onChange();
    });
  };
  return (
    <li>
      <form class="row" onSubmit={submit}>
        <Field label={path} value={text ?? shown} onInput={(e) => set(e.currentTarget.value)} />
        {text !== undefined && text !== shown && <button class="main" disabled={doing.busy !== ""}>Set</button>}
      </form>
      <Failure error={doing.error} />
    </li>
  );
}

interface Function {
  name: string;
  signature: { name: string; dataType: string | null; default: unknown; optional: boolean }[];
}

function Operation({ id, about, onDone }: { id: string; about: Function; onDone: () => void }) {
  const [given, set] = useState<Record<string, string>>({});
  const [result, setResult] = useState<{ value: unknown }>();
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    setResult(undefined);
    void doing.act("Working", async () => {
      const last = about.signature.findLastIndex((one) => (given[one.name] ?? "") !== "");
      const args = about.signature.slice(0, last + 1).map((one) => ((given[one.name] ?? "") === "" ? one.default : typed(given[one.name]!)));
      const answer = (await call("POST /v2/model/operation/{run}", { path: { run: id }, body: { name: about.name, arguments: args } })) as unknown as { result: unknown };
      setResult({ value: answer.result });
      onDone();
    });
  };
  return (
    <form onSubmit={submit}>
      <div class="row">
        {about.signature.map((one) => (
          <Field key={one.name} label={`${one.name} of ${about.name}${one.optional ? " (optional)" : ""}`} required={!one.optional} placeholder={one.optional && one.default !== null ? json(one.default) : ""} value={given[one.name] ?? ""} onInput={(e) => set({ ...given, [one.name]: e.currentTarget.value })} />
        ))}
        <button disabled={doing.busy !== ""}>{about.name}</button>
        {result && <span role="status">answered <code>{json(result.value)}</code></span>}
      </div>
      <Failure error={doing.error} />
    </form>
  );
}

function Journal({ id, stamp }: { id: string; stamp: number }) {
  const found = useLoad((signal) => call("GET /v2/model/history/{run}", { path: { run: id }, signal }), [id], [stamp]);
  return (
    <Show of={found} what="Reading what was done">
      {(entries) => {
        const rows = (entries as unknown as Record<string, unknown>[]).map((one, i) => ({ at: i + 1, ...one })).reverse() as (Record<string, unknown> & { at: number })[];
        return rows.length === 0 ? <><h2>Journal</h2><p class="quiet">Nothing was changed yet.</p></> : (
          <Table title="Journal, newest first" file={`journal-${id}`} rows={rows} keyOf={(one) => String(one.at)} columns={[
            { name: "#", number: true, cell: (one) => one.at, data: (one) => one.at },
            { name: "What", cell: (one) => String(one.type ?? ""), data: (one) => one.type },
            { name: "With", cell: ({ at: _at, type: _type, ...rest }) => <code>{json(rest)}</code>, data: (one) => one },
          ]} />
        );
      }}
    </Show>
  );
}
