// What a candidate would have earned on decisions that were logged.
import { useState } from "preact/hooks";
import { call } from "../api";
import { Forest } from "../charts/forest";
import type { Evaluation } from "../openapi";
import { Choice, Failure, Field, Table, useAct, useDraft, Waiting } from "../ui";
import { number, percent } from "../values";
import type { Named } from "./evaluate";

export function OffPolicy({ names }: { names: Named[] }) {
  const [form, setForm] = useDraft("offpolicy", { logged: "", candidate: "", theta: "", rows: "2000" });
  const [upload, setUpload] = useState<File>();
  const [result, setResult] = useState<Evaluation>();
  const doing = useAct();
  const logged = form.logged || names[0]![0], candidate = form.candidate || names[0]![0];
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Estimating on the logged decisions", async () => {
      const log = upload ? { log: await upload.text(), format: upload.name.endsWith(".csv") ? "csv" : "jsonl" } : { rows: Number(form.rows) };
      const body = { candidate: { experiment: candidate }, ...(form.theta ? { theta: form.theta } : {}), ...log };
      setResult((await call("POST /eval/{exp_id}/offpolicy", { path: { exp_id: logged }, body })) as Evaluation);
    });
  };
  return (
    <>
      <form class="panel stack" onSubmit={submit}>
        <div class="row">
          <Choice label="Decisions logged by" value={logged} options={names} onChange={(value) => setForm({ ...form, logged: value })} />
          <Choice label="Candidate" value={candidate} options={names} onChange={(value) => setForm({ ...form, candidate: value })} />
          <Choice label="It decides on" value={form.theta} options={[["current", "its theta now"], ["empty", "no theta"], ["split", "what it learns from the first half"], ["progressive", "what it learns as it goes"], ["replay", "replayed learning"]]} empty="what fits" onChange={(theta) => setForm({ ...form, theta })} />
          <Field label="Newest rows" name="rows" type="number" min="1" value={form.rows} error={doing.error} onInput={(e) => setForm({ ...form, rows: e.currentTarget.value })} />
          <div class="field"><label>Or a log of your own (CSV, JSON lines) <input type="file" onChange={(e) => setUpload(e.currentTarget.files?.[0])} /></label></div>
          <button class="main" disabled={doing.busy !== ""}>{doing.busy ? "Estimating" : "Estimate"}</button>
        </div>
        {doing.busy && <Waiting what={doing.busy} />}
        <Failure error={doing.error} />
      </form>
      {result && <Result result={result} />}
    </>
  );
}

function Result({ result }: { result: Evaluation }) {
  const { overlap, estimates } = result;
  const log = result.log as { mean_reward?: number; mean?: number } | undefined;
  const mean = log?.mean_reward ?? log?.mean;
  const warnings = [...((result.warnings as string[] | undefined) ?? []), ...estimates.flatMap((one) => (one.warnings ?? []).map((text) => `${one.estimator}: ${text}`))];
  return (
    <div class="grid">
      <div class="panel">
        <Forest title="What the candidate would have earned per decision" x="reward per decision" note={typeof mean === "number" ? `Dashed: the log's own mean, ${number(mean)}.` : undefined}
          mark={typeof mean === "number" ? { at: mean, name: "the log" } : undefined}
          rows={estimates.map((one) => ({ name: one.estimator, value: one.value ?? null, low: one.interval?.low ?? null, high: one.interval?.high ?? null }))} />
        <Table title="Estimates" file="estimates" rows={estimates} keyOf={(one) => one.estimator} columns={[
          { name: "Estimator", cell: (one) => one.estimator, data: (one) => one.estimator },
          { name: "Value", number: true, cell: (one) => number(one.value), data: (one) => one.value },
          { name: "95 % interval", number: true, cell: (one) => (one.interval ? `${number(one.interval.low)} to ${number(one.interval.high)}` : "–"), data: (one) => one.interval },
          { name: "Method", cell: (one) => one.method ?? "", data: (one) => one.method },
        ]} />
      </div>
      <div class="panel">
        <h2>Can it be trusted?</h2>
        <dl class="facts">
          <div><dt>Decisions</dt><dd>{number(overlap.decisions)}</dd></div>
          <div><dt>Worth, weighted</dt><dd>{number(overlap.effective_sample_size)}</dd></div>
          <div><dt>Largest weight</dt><dd>{number(overlap.largest_weight)}</dd></div>
          <div><dt>Logged actions it could take</dt><dd>{percent(overlap.could_take)}</dd></div>
          <div><dt>It would do, never logged</dt><dd>{percent(overlap.never_logged)}</dd></div>
        </dl>
        {warnings.length === 0 && <p class="good">No warning.</p>}
        {[...new Set(warnings)].map((one) => <p key={one} class="note">{one}</p>)}
      </div>
    </div>
  );
}
