// The code that an experiment had: each save with its note, what differs from the editors, and a way back.
import { useState } from "preact/hooks";
import { call } from "../api";
import { diff, hunks } from "../diff";
import { Failure, Show, Table, Time, useAct, useLoad } from "../ui";
import { many } from "../values";
import type { Experiment } from "./experiment";

type Code = Pick<Experiment, "get_context" | "get_action" | "get_reward" | "set_reward">;

export function Revisions({ experiment, code, pieces, changed, onTake, onRestore }: {
  experiment: Experiment; code: Code; pieces: readonly (keyof Code)[]; changed: boolean;
  onTake: (code: Code) => void; onRestore: (code: Code, revision: number) => void;
}) {
  const path = { exp_id: experiment.id };
  const found = useLoad((signal) => call("GET /exp/{exp_id}/revisions", { path, signal }), [experiment.revision]);
  const [chosen, choose] = useState<number>();
  const old = useLoad(
    async (signal) => (chosen === undefined ? undefined : call("GET /exp/{exp_id}/revisions/{revision}", { path: { ...path, revision: String(chosen) }, signal })),
    [chosen],
  );
  const doing = useAct();
  const restore = (one: Code & { revision: number }) => void doing.act("Restoring", async () => {
    const saved = Object.fromEntries(pieces.map((piece) => [piece, one[piece]]));
    const answer = await call("PUT /exp/{exp_id}", { path, body: { ...saved, note: `restored from revision ${one.revision}`, if_revision: experiment.revision } });
    choose(undefined);
    onRestore(one, answer.revision);
  });
  return (
    <>
      <h2>Revisions</h2>
      <Show of={found} what="Reading the revisions">
        {({ revisions }) => (
          <Table title={`${many(revisions.length, "save")} of the code`} rows={revisions} keyOf={(one) => String(one.revision)} columns={[
            { name: "Revision", cell: (one) => one.revision },
            { name: "Note", cell: (one) => <>{one.note && <div>{one.note}</div>}<span class="quiet">{one.user}, <Time at={one.date} /></span></> },
            { name: "", cell: (one) => <button type="button" class="small" aria-expanded={chosen === one.revision} aria-label={`Changes since revision ${one.revision}`} onClick={() => choose(chosen === one.revision ? undefined : one.revision)}>Changes</button> },
          ]} />
        )}
      </Show>
      {chosen !== undefined && (
        <Show of={old} what={`Reading revision ${chosen}`}>
          {(one) => {
            if (!one || one.revision !== chosen) return null;
            const different = pieces.filter((piece) => one[piece] !== code[piece]);
            return (
              <section class="stack" aria-label={`Changes since revision ${chosen}`}>
                <h3>From revision {chosen} to the editors</h3>
                {different.length === 0 && <p class="quiet">The code in the editors is the same.</p>}
                {different.map((piece) => <Changes key={piece} name={piece} before={one[piece]} after={code[piece]} />)}
                <Failure error={doing.error} />
                <div class="row">
                  <button type="button" disabled={different.length === 0 || changed || doing.busy !== ""} onClick={() => restore(one)}>{doing.busy || `Restore revision ${chosen}`}</button>
                  <button type="button" disabled={different.length === 0} onClick={() => onTake(one)}>Put it into the editors</button>
                  {changed && <span class="quiet">Save or drop what is in the editors before restoring.</span>}
                </div>
              </section>
            );
          }}
        </Show>
      )}
    </>
  );
}

const SIGNS = { same: " ", old: "-", new: "+" };
const SPOKEN = { same: "", old: "removed: ", new: "added: " };

function Changes({ name, before, after }: { name: string; before: string; after: string }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`Changes of ${name}`}>
      <p><code>{name}</code></p>
      <pre class="diff">
        {hunks(diff(before, after)).map((line, place) =>
          line === null ? <span key={place} class="quiet">…</span> : (
            <span key={place} class={line.kind}><span aria-hidden="true">{SIGNS[line.kind]} </span><span class="unseen">{SPOKEN[line.kind]}</span>{line.text}</span>
          ),
        )}
      </pre>
    </div>
  );
}
