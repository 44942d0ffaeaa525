// One decision of the code in the editors, on theta as it is: what it would be, and what it would do.
import { useId, useState } from "preact/hooks";
import { ApiError, call, type Answer } from "../api";
import type { Mark } from "../editor";
import { Failure, Field, Table, useAct, Waiting } from "../ui";
import { json, number, typed } from "../values";

type Told = Answer<"POST /exp/{exp_id}/dryrun">;
type Row = Told["written"][number];

export function DryRun({ id, code, onFault }: { id: string; code: () => Record<string, string>; onFault: (mark: (Mark & { piece: string }) | undefined) => void }) {
  const [context, setContext] = useState("{}"), [reward, setReward] = useState("");
  const [told, setTold] = useState<Told>();
  const doing = useAct();
  const place = useId();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Running", async () => {
      let given: unknown;
      try {
        given = JSON.parse(context || "{}");
      } catch {
        throw new ApiError("context must be JSON, such as {\"age\": 41}", 400, "context");
      }
      try {
        setTold(await call("POST /exp/{exp_id}/dryrun", { path: { exp_id: id }, body: { ...code(), context: given, ...(reward.trim() ? { reward: typed(reward) } : {}) } }));
        onFault(undefined);
      } catch (error) {
        setTold(undefined);
        if (error instanceof ApiError && error.detail.piece) onFault({ piece: error.detail.piece, line: error.detail.line ?? 1, message: `${error.detail.type}: ${error.detail.message}` });
        throw error;
      }
    });
  };
  return (
    <>
      <h2>Try one decision</h2>
      <form class="stack" onSubmit={submit}>
        <div class="field">
          <label for={place}>Context (JSON)</label>
          <textarea id={place} class="code" rows={2} spellcheck={false} value={context} onInput={(e) => setContext(e.currentTarget.value)} />
        </div>
        <div class="row">
          <Field label="Reward for it" hint="number or JSON; empty: none" value={reward} onInput={(e) => setReward(e.currentTarget.value)} />
          <button disabled={doing.busy !== ""}>{doing.busy || "Try"}</button>
        </div>
      </form>
      <p class="quiet">Runs the code in the editors on theta as it is now. Nothing is logged or learned.</p>
      {doing.busy && <Waiting what="Running in the sandbox" />}
      <Failure error={doing.error} />
      {told && !doing.busy && <Outcome of={told} />}
    </>
  );
}

function Outcome({ of }: { of: Told }) {
  const columns = [
    { name: "Row", cell: (row: Row) => <code>{[row.name === "_theta" ? "" : row.name, row.key, row.value].filter(Boolean).join(":") || "(no key)"}</code> },
    { name: "Value", cell: (row: Row) => (row.theta === null ? <span class="quiet">none</span> : <code>{json(row.theta)}</code>) },
  ];
  const key = (row: Row) => json([row.exp_id, row.name, row.key, row.value]);
  return (
    <div role="status" class="stack">
      <p>Action: <code>{json(of.action)}</code></p>
      <dl class="facts">
        <div><dt>Propensity</dt><dd>{number(of.propensity)}{of.propensity_runs !== null && <span class="quiet"> from {of.propensity_runs} runs</span>}</dd></div>
        <div><dt>Time</dt><dd>{number(of.ms)} ms</dd></div>
      </dl>
      {of.probabilities && <p>Probabilities: {Object.entries(of.probabilities).map(([arm, p], place) => <span key={arm}>{place > 0 && ", "}<code>{arm}</code>&nbsp;<span title={String(p)}>{number(p)}</span></span>)}</p>}
      <p>Context afterwards: <code>{json(of.context)}</code></p>
      {of.read.length > 0 && <Table title={`Theta that was read: ${of.read.length}`} rows={of.read} keyOf={key} columns={columns} />}
      {of.written.length > 0 ? <Table title={`Theta that would be written: ${of.written.length}`} rows={of.written} keyOf={key} columns={columns} /> : <p class="quiet">It would write no theta.</p>}
      {of.more && <p class="quiet">There are more rows than are shown.</p>}
      {of.logged.map((row, place) => <p key={place}>It would log <code>{json(row)}</code></p>)}
    </div>
  );
}
