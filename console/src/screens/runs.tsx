// Runs of models, each with variables and operations of its own.
import { useState } from "preact/hooks";
import { call, fetched, session, type Answer } from "../api";
import { filter, go, href, route } from "../router";
import { Choice, Empty, Failure, Field, Show, Table, Time, useAct, useLoad } from "../ui";
import { json, many } from "../values";

export type RunRecord = Answer<"GET /v2/run/{account}/{project}">[number];
const PAGE = 50;

export function Runs() {
  const account = session.value!.name;
  const { query } = route.value;
  const project = query.get("project") || "console", wanted = query.get("model") ?? "", page = Number(query.get("page") ?? 0);
  const models = useLoad((signal) => call("GET /models", { signal }), []);
  const found = useLoad(async (signal) => {
    const options = { path: { account, project }, query: { startrecord: page * PAGE, endrecord: page * PAGE + PAGE - 1, sort: "created", direction: "desc" }, signal };
    const { answer, headers } = await fetched("GET /v2/run/{account}/{project}", options);
    return { runs: answer as RunRecord[], total: Number(headers.get("Content-Range")?.split("/")[1] ?? 0) };
  }, [account, project], [page]);
  const [model, setModel] = useState(wanted);
  const doing = useAct();
  const create = (event: Event) => {
    event.preventDefault();
    void doing.act("Making a run", async () => {
      const made = await call("POST /v2/run/{account}/{project}", { path: { account, project }, body: { model: model || models.data?.[0]?.name } });
      go(["runs", made.id], { project });
    });
  };
  return (
    <>
      <div class="head"><h1>Runs</h1></div>
      <div class="row">
        <Field label="Project" value={project} onChange={(e) => filter({ project: e.currentTarget.value, page: "" })} />
        <Choice label="Show those of" value={wanted} options={(models.data ?? []).map((one) => one.name)} empty="all models" onChange={(value) => filter({ model: value })} />
        <form class="row" onSubmit={create}>
          <Choice label="Model of a new run" value={model || (models.data?.[0]?.name ?? "")} options={(models.data ?? []).map((one) => one.name)} onChange={setModel} />
          <button class="main" disabled={!models.data?.length || doing.busy !== ""}>{doing.busy || "New run"}</button>
        </form>
      </div>
      <Failure error={doing.error} />
      <Show of={found} what="Reading the runs">
        {({ runs, total }) => {
          const shown = wanted ? runs.filter((one) => one.model === wanted) : runs;
          return total === 0 ? (
            <Empty><h2>No run in the project {project}</h2><p>{models.data?.length ? "Make one above: it keeps its variables, and comes back tomorrow." : <>A run needs a model: <a href="#/models">upload one</a>.</>}</p></Empty>
          ) : (
            <>
              <Table title={`${many(total, "run")} in ${project}`} rows={shown} keyOf={(one) => one.id} file={`runs-${project}`} columns={[
                { name: "Run", cell: (one) => <a href={href(["runs", one.id], { project })}>{one.id.slice(0, 8)}…</a>, data: (one) => one.id },
                { name: "Model", cell: (one) => one.model, data: (one) => one.model },
                { name: "Scope", cell: (one) => (Object.keys(one.scope).length ? <code>{json(one.scope)}</code> : ""), data: (one) => one.scope },
                { name: "Saved", cell: (one) => (one.saved ? "yes" : ""), data: (one) => one.saved },
                { name: "In memory", cell: (one) => (one.active ? "yes" : ""), data: (one) => one.active },
                { name: "Made", cell: (one) => <Time at={one.created} />, data: (one) => one.created },
                { name: "Changed", cell: (one) => <Time at={one.lastModified} />, data: (one) => one.lastModified },
              ]} />
              <div class="row">
                {page > 0 && <button type="button" onClick={() => filter({ page: String(page - 1) })}>Newer</button>}
                {(page + 1) * PAGE < total && <button type="button" onClick={() => filter({ page: String(page + 1) })}>Older</button>}
              </div>
            </>
          );
        }}
      </Show>
    </>
  );
}
