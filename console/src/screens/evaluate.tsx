// Which policy earns more: in a simulation, or on what was logged.
import { filter, route } from "../router";
import { href } from "../router";
import { call } from "../api";
import { Empty, Show, useLoad } from "../ui";
import { Compare } from "./compare";
import { OffPolicy } from "./offpolicy";

export type Named = [string, string];

export function Evaluate() {
  const view = route.value.query.get("view") === "offpolicy" ? "offpolicy" : "compare";
  const found = useLoad(async (signal) => {
    const names = (await call("GET /exp", { query: { limit: 1000 }, signal })) as Record<string, string>;
    return Object.entries(names).sort((a, b) => a[1].localeCompare(b[1], "en", { numeric: true })) as Named[];
  }, []);
  return (
    <>
      <div class="head"><h1>Evaluate</h1></div>
      <nav class="tabs" aria-label="Ways to evaluate">
        <a href={href(["evaluate"])} aria-current={view === "compare" ? "page" : undefined} onClick={() => filter({ view: "" })}>Compare in a simulation</a>
        <a href={href(["evaluate"], { view: "offpolicy" })} aria-current={view === "offpolicy" ? "page" : undefined}>On logged decisions</a>
      </nav>
      <Show of={found} what="Reading your experiments">
        {(names) =>
          names.length === 0 ? <Empty><h2>Nothing to evaluate</h2><p><a href="#/experiments?new=1">Make an experiment</a> first.</p></Empty>
            : view === "compare" ? <Compare names={names} /> : <OffPolicy names={names} />
        }
      </Show>
    </>
  );
}
