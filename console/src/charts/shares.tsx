// How a whole divides over time: shares that stand on each other and fill the chart.
import { LineChart, type Series } from "./line";

export function Shares({ title, note, xs, series, x, time }: { title: string; note?: string; xs: number[]; series: Series[]; x: string; time?: boolean }) {
  const sums = xs.map(() => 0);
  const stacked = series.map((one) => ({
    ...one,
    dash: [],
    values: one.values.map((value, i) => (value === null ? null : (sums[i] = sums[i]! + value))),
  }));
  return <LineChart title={title} note={note} xs={xs} series={stacked} x={x} y="share of decisions" time={time} fill range={[0, 1]} height={200} />;
}
