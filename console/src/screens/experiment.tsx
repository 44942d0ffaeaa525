// One experiment: what it is called, and its tabs.
import { call, type Answer } from "../api";
import { go, href } from "../router";
import { Copy, Destroy, Show, Time, useLoad } from "../ui";
import { LifeCycle } from "./lifecycle";
import { Live } from "./live";
import { Logs } from "./logs";
import { Policy } from "./policy";
import { Theta } from "./theta";

export type Experiment = Answer<"GET /exp/{exp_id}">;
const TABS = [["live", "Live"], ["policy", "Policy"], ["theta", "Theta"], ["logs", "Logs"], ["lifecycle", "Life cycle"]] as const;

export function Experiment({ id, tab }: { id: string; tab: string }) {
  const found = useLoad((signal) => call("GET /exp/{exp_id}", { path: { exp_id: id }, signal }), [id]);
  return (
    <Show of={found} what="Reading the experiment">
      {(experiment) => (
        <>
          <div class="head">
            <h1>{experiment.name}</h1>
            <span class="quiet"><code>{id.slice(0, 8)}…</code> <Copy text={id} label="Copy id" /> {experiment.state ?? "running"}, revision {experiment.revision}, changed <Time at={experiment.modified} /></span>
            <Destroy
              label="Archive" name={experiment.name}
              about="Its calls are refused from then on, and its name is free again. Its logs stay stored."
              act={async () => {
                await call("DELETE /exp/{exp_id}", { path: { exp_id: id } });
                go(["experiments"]);
              }}
            />
          </div>
          <nav class="tabs" aria-label="Views of this experiment">
            {TABS.map(([key, name]) => <a key={key} href={href(["experiments", id, key])} aria-current={tab === key ? "page" : undefined}>{name}</a>)}
          </nav>
          {tab === "live" && <Live experiment={experiment} />}
          {tab === "policy" && <Policy experiment={experiment} reload={found.reload} />}
          {tab === "theta" && <Theta experiment={experiment} />}
          {tab === "logs" && <Logs experiment={experiment} />}
          {tab === "lifecycle" && <LifeCycle experiment={experiment} reload={found.reload} />}
        </>
      )}
    </Show>
  );
}
