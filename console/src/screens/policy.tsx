// The four pieces of code of an experiment, what the catalogue offers, and what a simulation makes of them.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, call, follow } from "../api";
import { LineChart } from "../charts/line";
import { Shares } from "../charts/shares";
import { Editor, type Mark } from "../editor";
import { route, unsaved } from "../router";
import { Choice, Failure, Field, Show, useAct, useDraft, useLoad, Waiting } from "../ui";
import { look, lookOf, number } from "../values";
import { DryRun } from "./dryrun";
import { Idea } from "./experiments";
import { Revisions } from "./revisions";
import type { Experiment } from "./experiment";

export const PIECES = ["get_context", "get_action", "get_reward", "set_reward"] as const;
type Piece = (typeof PIECES)[number];
type Code = Record<Piece, string>;
const MEANS: Record<Piece, string> = {
  get_action: "decides: sets self.action",
  set_reward: "learns from a reward: changes theta",
  get_context: "makes a context, in simulations",
  get_reward: "makes a reward, in simulations",
};
// In the order in which people read them.
const ORDER: Piece[] = ["get_action", "set_reward", "get_context", "get_reward"];
const of = (experiment: Experiment): Code => Object.fromEntries(PIECES.map((piece) => [piece, experiment[piece]])) as Code;

export function Policy({ experiment, reload }: { experiment: Experiment; reload: () => void }) {
  const { id } = experiment;
  const [draft, setDraft, dropDraft] = useDraft<{ code: Code; revision: number }>(`policy.${id}`, { code: of(experiment), revision: experiment.revision });
  const { code, revision } = draft;
  // What was typed a moment ago and is not drawn yet: saving takes that.
  const latest = useRef(draft);
  latest.current = draft;
  const changed = PIECES.filter((piece) => code[piece] !== experiment[piece]);
  const query = route.value.query;
  const [mark, setMark] = useState<(Mark & { piece: string }) | undefined>(
    query.has("piece") ? { piece: query.get("piece")!, line: Number(query.get("line")), message: "the last error came from here" } : undefined,
  );
  const [note, setNote] = useState("");
  const doing = useAct();
  const fresh = () => ({ code: of(experiment), revision: experiment.revision });
  useEffect(() => {
    unsaved.value = changed.length ? `${changed.join(", ")} of ${experiment.name} has changes that are not saved.` : null;
  }, [changed.join()]);
  useEffect(() => {
    // What was saved, here or elsewhere, and nothing was typed since.
    if (!changed.length && revision !== experiment.revision) setDraft(fresh());
  }, [experiment.revision]);
  const edit = (piece: Piece, text: string) => {
    if (mark?.piece === piece) setMark(undefined);
    latest.current = { ...latest.current, code: { ...latest.current.code, [piece]: text } };
    setDraft(latest.current);
  };
  const save = () =>
    void doing.act("Saving", async () => {
      try {
        await call("PUT /exp/{exp_id}", { path: { exp_id: id }, body: { ...latest.current.code, if_revision: latest.current.revision, ...(note ? { note } : {}) } });
      } catch (error) {
        if (error instanceof ApiError && error.detail.piece) {
          setMark({ piece: error.detail.piece, line: error.detail.line ?? 1, message: `${error.detail.type}: ${error.detail.message}` });
        }
        throw error;
      }
      dropDraft();
      setNote("");
      setMark(undefined);
      unsaved.value = null;
      reload();
    });
  const take = (taken: Code, of = revision) => setDraft({ revision: of, code: Object.fromEntries(PIECES.map((piece) => [piece, taken[piece]])) as Code });
  const behind = revision !== experiment.revision && changed.length > 0;
  return (
    <div class="side">
      <form class="stack" onSubmit={(event) => { event.preventDefault(); save(); }} onKeyDown={(event) => {
        if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        if (changed.length && !doing.busy) save();
      }}>
        {behind && (
          <p class="note">Somebody saved revision {experiment.revision} after this draft of revision {revision} was begun.{" "}
            <button type="button" class="small" onClick={() => setDraft({ code, revision: experiment.revision })}>Keep mine, over it</button>{" "}
            <button type="button" class="small" onClick={() => setDraft(fresh())}>Take theirs</button>
          </p>
        )}
        {ORDER.map((piece) => (
          <Editor key={piece} label={`${piece} ${MEANS[piece]}${code[piece] !== experiment[piece] ? " (changed)" : ""}`} value={code[piece]} onChange={(text) => edit(piece, text)} mark={mark?.piece === piece ? mark : undefined} />
        ))}
        <Failure error={doing.error} />
        <div class="row">
          <Field label="Note" name="note" hint="what the change is for" value={note} error={doing.error} onInput={(e) => setNote(e.currentTarget.value)} />
          <button class="main" disabled={!changed.length || doing.busy !== ""}>{doing.busy || "Save"}</button>
          <button type="button" disabled={!changed.length} onClick={() => { setDraft(fresh()); setMark(undefined); doing.clear(); }}>Back to what is saved</button>
          <span class="quiet" role="status">{changed.length ? `${changed.join(", ")} changed; kept in this browser` : `revision ${experiment.revision} is saved and decides`}</span>
        </div>
      </form>
      <div class="stack">
        <section class="panel"><DryRun id={id} code={() => latest.current.code} onFault={setMark} /></section>
        <section class="panel"><Simulate experiment={experiment} changed={changed.length > 0} onFault={setMark} /></section>
        <section class="panel"><Revisions experiment={experiment} code={code} pieces={ORDER} changed={changed.length > 0} onTake={(code) => take(code)} onRestore={(code, revision) => { take(code, revision); reload(); }} /></section>
        <section class="panel"><Catalogue onTake={(taken) => setDraft({ ...draft, code: { ...code, ...taken } })} /></section>
      </div>
    </div>
  );
}

function Catalogue({ onTake }: { onTake: (code: Code) => void }) {
  const names = useLoad((signal) => call("GET /exp/defaults", { signal }), []);
  const [number, set] = useState("");
  const policy = useLoad(async (signal) => (number ? call("GET /exp/defaults/{default_id}", { path: { default_id: number }, signal }) : undefined), [number]);
  return (
    <>
      <h2>From the catalogue</h2>
      <Show of={names} what="Reading the catalogue">{(list) => <Choice label="Policy" value={number} options={Object.entries(list)} empty="choose one" onChange={set} />}</Show>
      {number && (
        <Show of={policy} what="Reading the policy">
          {(one) => one && (
            <>
              <Idea policy={one} />
              <button type="button" onClick={() => onTake({ get_context: one.get_context, get_action: one.get_action, get_reward: one.get_reward, set_reward: one.set_reward })}>Put it into the editors</button>
            </>
          )}
        </Show>
      )}
    </>
  );
}

interface Band {
  mean: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}
interface Result {
  points: number[];
  reward: Band;
  regret: Band | null;
  arms: Record<string, (number | null)[]>;
}

function Simulate({ experiment, changed, onFault }: { experiment: Experiment; changed: boolean; onFault: (mark: Mark & { piece: string }) => void }) {
  const { id } = experiment;
  const [wanted, set] = useState({ N: "500", replications: "8", theta: "empty" });
  const [progress, setProgress] = useState({ done: 0, total: 0 });
  const [result, setResult] = useState<Result>();
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Simulating", async () => {
      setProgress({ done: 0, total: 0 });
      try {
        const body = { N: Number(wanted.N), replications: Number(wanted.replications), theta: wanted.theta, points: 100 };
        const job = await call("POST /eval/{exp_id}/simulations", { path: { exp_id: id }, body });
        setResult(await follow<Result>(job.id, (done, total) => setProgress({ done, total })));
      } catch (error) {
        if (error instanceof ApiError && error.detail.piece) onFault({ piece: error.detail.piece, line: error.detail.line ?? 1, message: error.message });
        throw error;
      }
    });
  };
  const rate = (band: (number | null)[]) => band.map((v, i) => (v === null ? null : v / result!.points[i]!));
  return (
    <>
      <h2>Simulate</h2>
      <form class="row" onSubmit={submit}>
        <Field label="Draws" type="number" min="1" value={wanted.N} onInput={(e) => set({ ...wanted, N: e.currentTarget.value })} />
        <Field label="Replications" type="number" min="1" value={wanted.replications} onInput={(e) => set({ ...wanted, replications: e.currentTarget.value })} />
        <Choice label="Theta at first" value={wanted.theta} options={["empty", "current"]} onChange={(theta) => set({ ...wanted, theta })} />
        <button disabled={doing.busy !== ""}>{doing.busy ? "Simulating" : "Simulate"}</button>
      </form>
      {changed && <p class="quiet">Simulates what is saved, not what is being edited.</p>}
      {doing.busy && <Waiting what={progress.total ? `${number(progress.done)} of ${number(progress.total)} draws` : "Waiting for a worker"} progress={progress} />}
      <Failure error={doing.error} />
      {result && (
        <>
          <LineChart title="Mean reward in the simulation" x="draws" y="reward per draw" xs={result.points} height={200}
            series={[{ name: "reward", ...look(0), values: rate(result.reward.mean), low: rate(result.reward.low), high: rate(result.reward.high) }]} note="Band: 95 % over replications." />
          <Shares title="Share of each arm in the simulation" x="draws" xs={result.points} series={Object.entries(result.arms).map(([name, values]) => ({ name, ...lookOf(id, name), values }))} />
        </>
      )}
    </>
  );
}
