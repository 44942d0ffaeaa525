// What works in the background.
import { useEffect } from "preact/hooks";
import { call, type Answer } from "../api";
import { filter, href, route } from "../router";
import { Choice, Empty, Failure, Show, Table, Time, useAct, useLoad } from "../ui";
import { json, newest, number } from "../values";

type Job = Answer<"GET /jobs">[number];
const STATES = ["waiting", "running", "interrupted", "done", "failed", "cancelled"];
const ENDED = ["done", "failed", "cancelled"];

export function Jobs() {
  const state = route.value.query.get("state") ?? "";
  const found = useLoad((signal) => call("GET /jobs", { query: { limit: 100 }, signal }), []);
  const doing = useAct();
  const working = found.data?.some((job) => !ENDED.includes(job.state)) ?? false;
  useEffect(() => {
    if (!working) return;
    const timer = setTimeout(found.reload, 1500);
    return () => clearTimeout(timer);
  }, [found.data]);
  const remove = (job: Job) => void doing.act("Cancelling", async () => {
    await call("DELETE /jobs/{job}", { path: { job: job.id } });
    found.reload();
  });
  const about = (job: Job) => job.experiment ?? job.scenario_manager ?? (job.experiments ? `${job.experiments.length} experiments` : "");
  return (
    <>
      <div class="head"><h1>Jobs</h1></div>
      <div class="row"><Choice label="State" value={state} options={STATES} empty="any" onChange={(value) => filter({ state: value })} /></div>
      <Failure error={doing.error} />
      <Show of={found} what="Reading your jobs">
        {(jobs) => {
          const shown = jobs.filter((job) => !state || job.state === state);
          return shown.length === 0 ? <Empty>{state ? `No job is ${state}.` : "No job. Simulations, comparisons and sweeps that take a while become jobs."}</Empty> : (
            <Table title={newest(shown.length, "job")} rows={shown} keyOf={(job) => job.id} file="jobs" columns={[
              { name: "Kind", cell: (job) => job.kind, data: (job) => job.kind },
              { name: "Of", cell: (job) => (job.experiment ? <a href={href(["experiments", job.experiment])}>{job.experiment.slice(0, 8)}…</a> : about(job)), data: about },
              { name: "State", cell: (job) => <span class={job.state === "failed" ? "wrong" : job.state === "done" ? "good" : ""}>{job.state}</span>, data: (job) => job.state },
              { name: "Progress", number: true, cell: (job) => <>{!ENDED.includes(job.state) && job.progress.total > 0 && <progress value={job.progress.done} max={job.progress.total} aria-label={`progress of ${job.id}`} />} {number(job.progress.done)} of {number(job.progress.total)}</>, data: (job) => job.progress },
              { name: "Begun", cell: (job) => <Time at={job.created} />, data: (job) => job.created },
              { name: "Changed", cell: (job) => <Time at={job.modified} />, data: (job) => job.modified },
              { name: "Result", cell: (job) => <Result job={job} /> },
              { name: "", cell: (job) => <button type="button" class="small" onClick={() => remove(job)} aria-label={`${ENDED.includes(job.state) ? "Remove" : "Cancel"} job ${job.id}`}>{ENDED.includes(job.state) ? "Remove" : "Cancel"}</button> },
            ]} />
          );
        }}
      </Show>
    </>
  );
}

function Result({ job }: { job: Job }) {
  const one = useLoad(async (signal) => (job.state === "failed" ? call("GET /jobs/{job}", { path: { job: job.id }, signal }) : undefined), [job.state]);
  const error = (one.data?.error ?? job.error) as { message?: string } | undefined;
  if (job.state === "failed") return <span class="wrong">{error?.message ?? ""}</span>;
  return job.state === "done" ? <a href={`/jobs/${job.id}`} target="_blank" rel="noopener" title={json(job.progress)}>JSON</a> : null;
}
