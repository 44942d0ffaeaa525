// The user's models, and uploading one.
import { useState } from "preact/hooks";
import { call, type Answer } from "../api";
import { filter, href, route } from "../router";
import { Choice, Destroy, Empty, Failure, Field, Show, Table, Time, useAct, useLoad } from "../ui";
import { many } from "../values";

export type Model = Answer<"GET /models">[number];

export function Models() {
  const found = useLoad((signal) => call("GET /models", { signal }), []);
  const search = route.value.query.get("search") ?? "";
  const scenarios = (model: Model) => Object.entries(model.scenario_managers).map(([manager, names]) => `${manager}: ${names.join(", ")}`).join("; ");
  return (
    <>
      <div class="head">
        <h1>Models</h1>
        <input type="search" aria-label="Search models by name" placeholder="Search (/)" value={search} onInput={(e) => filter({ search: e.currentTarget.value })} />
      </div>
      <Show of={found} what="Reading your models">
        {(models) => {
          const shown = models.filter((one) => one.name.toLowerCase().includes(search.toLowerCase()));
          return models.length === 0 ? (
            <Empty><h2>No model yet</h2><p>Drop a model below: Python for bptk-py, Vensim, XMILE, or a plain Python module.</p></Empty>
          ) : (
            <Table title={many(shown.length, "model")} rows={shown} keyOf={(one) => one.name} file="models" columns={[
              { name: "Name", cell: (one) => (Object.keys(one.scenario_managers).length ? <a href={href(["models", one.name])}>{one.name}</a> : <a href={href(["runs"], { model: one.name })}>{one.name}</a>), data: (one) => one.name },
              { name: "Engine", cell: (one) => one.engine, data: (one) => one.engine },
              { name: "Version", number: true, cell: (one) => one.version, data: (one) => one.version },
              { name: "Scenarios", cell: (one) => scenarios(one) || <span class="quiet">none: play it as a run</span>, data: scenarios },
              { name: "Uploaded", cell: (one) => <Time at={one.modified} />, data: (one) => one.modified },
              { name: "", cell: (one) => <Destroy label="Delete" name={one.name} about="Runs and sessions that have it go on; it can be uploaded again." act={async () => { await call("DELETE /models/{model}", { path: { model: one.name } }); found.reload(); }} /> },
            ]} />
          );
        }}
      </Show>
      <Upload known={found.data ?? []} done={found.reload} />
    </>
  );
}

async function encoded(file: File): Promise<string | { base64: string }> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return { base64: btoa(text) };
  }
}

function Upload({ known, done }: { known: Model[]; done: () => void }) {
  const [files, setFiles] = useState<File[]>([]);
  const [name, setName] = useState(""), [engine, setEngine] = useState("");
  const [over, setOver] = useState(false);
  const [made, setMade] = useState<Model>();
  const doing = useAct();
  const take = (list: FileList | null | undefined) => {
    const taken = [...(list ?? [])];
    if (!taken.length) return;
    setFiles(taken);
    setMade(undefined);
    doing.clear();
    if (!name) setName(taken[0]!.name.replace(/\.[^.]+$/, "").replace(/\W+/g, "_"));
  };
  const old = known.some((one) => one.name === name);
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Loading the model", async () => {
      const body: Record<string, unknown> = { files: Object.fromEntries(await Promise.all(files.map(async (file) => [file.name, await encoded(file)] as const))) };
      if (engine) body.engine = engine;
      const answer = old
        ? await call("PUT /models/{model}", { path: { model: name }, body })
        : await call("POST /models", { body: { name, ...body } });
      setMade(answer as Model);
      // The next files are another model, unless they say otherwise.
      setFiles([]);
      setName("");
      done();
    });
  };
  return (
    <form class="panel stack" onSubmit={submit}>
      <h2>Upload</h2>
      <div class={over ? "drop over" : "drop"}
        onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
        onDrop={(event) => { event.preventDefault(); setOver(false); take(event.dataTransfer?.files); }}>
        <label>Drop files here, or choose them: <input type="file" multiple onChange={(e) => take(e.currentTarget.files)} /></label>
        {files.length > 0 && <p>{files.map((file) => file.name).join(", ")}</p>}
      </div>
      <div class="row">
        <Field label="Name" required value={name} onInput={(e) => setName(e.currentTarget.value)} />
        <Choice label="Engine" value={engine} options={["bptk", "pysd", "python"]} empty="by its files" onChange={setEngine} />
        <button class="main" disabled={!files.length || doing.busy !== ""}>{doing.busy || (old ? "Upload a new version" : "Upload")}</button>
      </div>
      <Failure error={doing.error} />
      {made && (
        <div role="status">
          <p class="good">{made.name}, version {made.version}, is loaded by {made.engine}.</p>
          <p>Found: {[
            ...Object.entries(made.equations).map(([manager, kinds]) => `${manager}: ${Object.entries(kinds).filter(([, names]) => names.length).map(([kind, names]) => `${names.length} ${kind}`).join(", ")}`),
            ...(made.variables.length ? [`${made.variables.length} variables`] : []),
            ...(made.operations.length ? [`${made.operations.length} operations`] : []),
          ].join("; ")}. <a href={Object.keys(made.scenario_managers).length ? href(["models", made.name]) : href(["runs"], { model: made.name })}>Play it</a></p>
          {made.warnings.map((one) => <p key={one} class="note">{one}</p>)}
        </div>
      )}
    </form>
  );
}
