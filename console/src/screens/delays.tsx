// How long rewards take to come.
import { call } from "../api";
import { Show, useLoad } from "../ui";
import { duration, many, number, percent } from "../values";

const ROWS = 500;

/** Where in the sorted values the share `p` of them is no greater. */
function quantile(sorted: number[], p: number): number {
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)]!;
}

export function Delays({ id, stamp }: { id: string; stamp: string }) {
  const found = useLoad(async (signal) => (stamp ? call("GET /stats/{exp_id}/decisions", { path: { exp_id: id }, query: { limit: ROWS }, signal }) : undefined), [id], [stamp]);
  return (
    <>
      <h2>Delay of rewards</h2>
      <Show of={found} what="Reading the newest decisions">
        {(answer) => {
          if (!answer) return null;
          const rows = answer as unknown as { delay_ms?: number }[];
          const delays = rows.flatMap((row) => (row.delay_ms === undefined ? [] : [row.delay_ms])).sort((a, b) => a - b);
          if (rows.length === 0) return <p class="quiet">There are no decisions yet.</p>;
          if (delays.length === 0) return <p class="quiet">None of the newest {many(rows.length, "decision")} has a reward yet.</p>;
          return (
            <>
              <dl class="facts">
                <div><dt>Half within</dt><dd>{duration(quantile(delays, 0.5))}</dd></div>
                <div><dt>9 of 10 within</dt><dd>{duration(quantile(delays, 0.9))}</dd></div>
                <div><dt>Longest</dt><dd>{duration(delays.at(-1)!)}</dd></div>
              </dl>
              <p class="quiet">{number(delays.length)} of the newest {many(rows.length, "decision")} ({percent(delays.length / rows.length)}) have a reward.</p>
            </>
          );
        }}
      </Show>
    </>
  );
}
