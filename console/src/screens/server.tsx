// What the server is and how it is: version, store, sandbox and limits for administrators, its own metrics in words.
import { call, session, type Answer } from "../api";
import { filter, route } from "../router";
import { Show, Table, useLoad } from "../ui";
import { number } from "../values";

interface Metric {
  name: string;
  labels: string;
  value: number;
}

/** The lines of a Prometheus text that are samples; of histograms only sums and counts. */
function parsed(text: string): { metrics: Metric[]; meaning: Record<string, string> } {
  const metrics: Metric[] = [], meaning: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const help = /^# HELP (\S+) (.*)$/.exec(line);
    if (help) meaning[help[1]!] = help[2]!;
    const sample = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample && !/_(bucket|created)$/.test(sample[1]!)) metrics.push({ name: sample[1]!, labels: sample[2] ?? "", value: Number(sample[3]) });
  }
  return { metrics, meaning };
}

export function Server() {
  const search = route.value.query.get("search") ?? "";
  const found = useLoad(async (signal) => {
    const [about, healthy, ready, text] = await Promise.all([
      session.value?.admin ? call("GET /server", { signal }) : undefined,
      call("GET /healthy", { signal }),
      call("GET /ready", { signal }).then((answer) => answer.status, (error: Error) => error.message),
      call("GET /metrics", { signal, headers: { Accept: "text/plain" } }),
    ]);
    return { about, version: healthy.version, ready, ...parsed(String(text)) };
  }, []);
  return (
    <>
      <div class="head"><h1>Server</h1><button type="button" onClick={found.reload}>Read again</button></div>
      <Show of={found} what="Asking the server">
        {({ about, version, ready, metrics, meaning }) => {
          const said = (one: Metric) => meaning[one.name] ?? meaning[one.name.replace(/_(total|sum|count)$/, "")] ?? "";
          const sum = (name: string, labels = /(?:)/) => metrics.filter((one) => one.name === name && labels.test(one.labels)).reduce((all, one) => all + one.value, 0);
          const shown = metrics.filter((one) => `${one.name} ${one.labels} ${said(one)}`.toLowerCase().includes(search.toLowerCase()));
          return (
            <>
              <dl class="facts">
                <div><dt>Version</dt><dd>{version}</dd></div>
                <div><dt>Can it decide?</dt><dd class={ready === "ready" ? "good" : "wrong"}>{ready}</dd></div>
                <div><dt>Requests answered</dt><dd>{number(sum("streamsim_http_requests_total"))}</dd></div>
                <div><dt>of them with 5xx</dt><dd>{number(sum("streamsim_http_requests_total", /status="5/))}</dd></div>
              </dl>
              {about && <About of={about} />}
              <p><input type="search" aria-label="Search metrics" placeholder="Search (/)" value={search} onInput={(e) => filter({ search: e.currentTarget.value })} /></p>
              <Table title={`Metrics of the process that answered: ${shown.length}`} file="metrics" rows={shown.slice(0, 300)} keyOf={(one) => one.name + one.labels} columns={[
                { name: "Metric", cell: (one) => <code>{one.name}</code>, data: (one) => one.name },
                { name: "Of", cell: (one) => <code>{one.labels}</code>, data: (one) => one.labels },
                { name: "Value", number: true, cell: (one) => <span title={String(one.value)}>{number(one.value, 4)}</span>, data: (one) => one.value },
                { name: "Meaning", long: true, cell: said, data: said },
              ]} />
            </>
          );
        }}
      </Show>
    </>
  );
}

function About({ of }: { of: Answer<"GET /server"> }) {
  const { missing, notes, ...layers } = of.sandbox;
  const said = (value: unknown) => (Array.isArray(value) ? value.join(", ") || "none" : value === true ? "yes" : value === false ? "no" : String(value));
  return (
    <div class="stack">
      <div class="side">
        <section class="panel stack">
          <h2>Store and machine</h2>
          <dl class="facts">
            <div><dt>python</dt><dd>{of.python}</dd></div>
            <div><dt>kernel</dt><dd>{of.kernel}</dd></div>
            {Object.entries(of.store).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
          </dl>
        </section>
        <section class="panel stack">
          <h2>Sandbox</h2>
          <dl class="facts">{Object.entries(layers).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{said(value)}</dd></div>)}</dl>
          {Object.entries(missing).map(([name, why]) => <p key={name} class="wrong">{name} is missing: {why}</p>)}
          {notes.map((note) => <p key={note} class="quiet">{note}</p>)}
        </section>
      </div>
      <Table title={`Limits: ${of.limits.length}`} file="limits" rows={of.limits} keyOf={(one) => one.name} columns={[
        { name: "Setting", cell: (one) => <code>{one.name}</code>, data: (one) => one.name },
        { name: "Value", number: true, cell: (one) => (typeof one.value === "number" ? <span title={String(one.value)}>{number(one.value)}</span> : said(one.value)), data: (one) => one.value },
        { name: "Meaning", long: true, cell: (one) => one.meaning, data: (one) => one.meaning },
      ]} />
    </div>
  );
}
