// All experiments of the user, and a new one from the catalogue.
import { useEffect, useState } from "preact/hooks";
import { call, fetched, type Answer } from "../api";
import { Spark } from "../charts/spark";
import { filter, go, href, route } from "../router";
import { Choice, Copy, Dialog, Empty, Failure, Field, Show, Table, Time, useAct, useDraft, useLoad, type Column } from "../ui";
import { many, number } from "../values";

type Listed = Answer<"GET /stats">[number];
interface Item {
  id: string;
  name: string;
}
const SHOWN = 100;

/** Numbers of all experiments, a hundred with each request; the list is there already. */
function useNumbers(): Record<string, Listed> {
  const [found, set] = useState<Record<string, Listed>>({});
  useEffect(() => {
    const control = new AbortController();
    const work = async () => {
      for (let after: string | undefined = ""; after !== undefined; ) {
        const { answer, headers } = await fetched("GET /stats", { query: { after }, signal: control.signal });
        const page = answer as Listed[];
        set((old) => ({ ...old, ...Object.fromEntries(page.map((one) => [one.id, one])) }));
        after = headers.has("Link") ? page.at(-1)?.id : undefined;
      }
    };
    // What failed stays unknown in the table; the list itself says what is wrong.
    work().catch(() => undefined);
    return () => control.abort();
  }, []);
  return found;
}

export function Experiments() {
  const listed = useLoad(async (signal) => {
    const names = (await call("GET /exp", { query: { limit: 1000 }, signal })) as Record<string, string>;
    return Object.entries(names).map(([id, name]) => ({ id, name })).sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }, []);
  const [making, make] = useState(route.value.query.has("new"));
  const search = route.value.query.get("search") ?? "";
  const matching = (listed.data ?? []).filter((one) => one.name.toLowerCase().includes(search.toLowerCase()));
  const shown = matching.slice(0, SHOWN);
  const numbers = useNumbers();
  const columns: Column<Item>[] = [
    { name: "Name", cell: (one) => <a href={href(["experiments", one.id])}>{one.name}</a>, data: (one) => one.name },
    { name: "State", cell: ({ id }) => numbers[id]?.state ?? "…", data: ({ id }) => numbers[id]?.state },
    { name: "Decisions", number: true, cell: ({ id }) => (numbers[id] ? number(numbers[id].get_action_calls) : "…"), data: ({ id }) => numbers[id]?.get_action_calls },
    { name: "In 24 hours", cell: ({ id }) => numbers[id] && <Spark values={numbers[id].decisions} label={`${number(numbers[id].decisions.reduce((a, b) => a + b, 0))} decisions in 24 hours`} />, data: ({ id }) => numbers[id]?.decisions },
    { name: "Rewards", number: true, cell: ({ id }) => (numbers[id] ? number(numbers[id].set_reward_calls) : "…"), data: ({ id }) => numbers[id]?.set_reward_calls },
    { name: "Mean reward, 24 h", number: true, cell: ({ id }) => <Mean of={numbers[id]} />, data: ({ id }) => [numbers[id]?.mean, numbers[id]?.low, numbers[id]?.high] },
    { name: "Errors, 24 h", number: true, cell: ({ id }) => numbers[id] && <span class={numbers[id].errors ? "wrong" : undefined}>{number(numbers[id].errors)}</span>, data: ({ id }) => numbers[id]?.errors },
    { name: "Last decision", cell: ({ id }) => (numbers[id] ? <Time at={numbers[id].last_added_get_action} /> : "…"), data: ({ id }) => numbers[id]?.last_added_get_action },
    { name: "Id", cell: ({ id }) => <><code>{id.slice(0, 8)}…</code> <Copy text={id} /></>, data: ({ id }) => id },
  ];
  return (
    <>
      <div class="head">
        <h1>Experiments</h1>
        <input type="search" aria-label="Search experiments by name" placeholder="Search (/)" value={search} onInput={(e) => filter({ search: e.currentTarget.value })} />
        <button type="button" class="main" onClick={() => make(true)}>New experiment</button>
      </div>
      <Show of={listed} what="Reading your experiments">
        {(items) =>
          items.length === 0 ? (
            <Empty>
              <h2>No experiment yet</h2>
              <p>An experiment is a policy that decides, with what it has learned. Take one from the catalogue: it decides at once, and its code is yours to change.</p>
              <button type="button" class="main" onClick={() => make(true)}>New experiment</button>
            </Empty>
          ) : shown.length === 0 ? (
            <Empty>No experiment has “{search}” in its name.</Empty>
          ) : (
            <>
              <Table title={search ? `${matching.length} of ${items.length} experiments` : many(items.length, "experiment")} columns={columns} rows={shown} keyOf={(one) => one.id} file="experiments" />
              {matching.length > SHOWN && <p class="quiet">The first {SHOWN} are shown; search finds the others.</p>}
            </>
          )
        }
      </Show>
      {making && <New onClose={() => make(false)} />}
    </>
  );
}

function Mean({ of }: { of?: Listed }) {
  if (!of) return <>…</>;
  return <>{number(of.mean)}{of.low !== null && <span class="quiet"> ({number(of.low)} to {number(of.high)})</span>}</>;
}

function New({ onClose }: { onClose: () => void }) {
  const names = useLoad((signal) => call("GET /exp/defaults", { signal }), []);
  const [draft, setDraft, dropDraft] = useDraft("new-experiment", { name: "", template: "11" });
  const chosen = useLoad(
    async (signal) => (draft.template ? call("GET /exp/defaults/{default_id}", { path: { default_id: draft.template }, signal }) : undefined),
    [draft.template],
  );
  const [propensity, setPropensity] = useState(true);
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Making it", async () => {
      const { get_context, get_action, get_reward, set_reward } = chosen.data ?? {};
      const code = draft.template ? { get_context, get_action, get_reward, set_reward, arm_field: chosen.data?.action.field } : {};
      const made = await call("POST /exp", { body: { name: draft.name, log_propensity: propensity, ...code } });
      dropDraft();
      onClose();
      go(["experiments", made.id]);
    });
  };
  return (
    <Dialog title="New experiment" onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field label="Name" name="name" required value={draft.name} error={doing.error} onInput={(e) => setDraft({ ...draft, name: e.currentTarget.value })} />
        <Show of={names} what="Reading the catalogue">
          {(list) => <Choice label="Policy" value={draft.template} options={Object.entries(list)} empty="empty: I write all four pieces" onChange={(template) => setDraft({ ...draft, template })} />}
        </Show>
        {draft.template && <Show of={chosen} what="Reading the policy">{(policy) => policy && <Idea policy={policy} />}</Show>}
        <label class="check"><input type="checkbox" checked={propensity} onChange={(e) => setPropensity(e.currentTarget.checked)} />Log the probability of each decision, which off-policy evaluation and inference need</label>
        <Failure error={doing.error} />
        <div><button class="main" disabled={doing.busy !== "" || (draft.template !== "" && !chosen.data)}>{doing.busy || "Make it"}</button></div>
      </form>
    </Dialog>
  );
}

export function Idea({ policy }: { policy: Answer<"GET /exp/defaults/{default_id}"> }) {
  return (
    <div>
      <p>{policy.idea}</p>
      {policy.parameters.length > 0 && (
        <Table title="Parameters, at the top of its code" rows={policy.parameters} keyOf={(one) => one.name} columns={[
          { name: "Name", cell: (one) => <code>{one.name}</code> },
          { name: "At first", cell: (one) => <code>{JSON.stringify(one.default)}</code> },
          { name: "Meaning", cell: (one) => one.meaning },
        ]} />
      )}
      <p class="quiet">{policy.reference}</p>
    </div>
  );
}
