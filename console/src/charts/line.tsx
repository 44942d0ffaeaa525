// Lines with bands over time or over a count.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { dark, number, type Look } from "../values";
import { Frame } from "./frame";
import { lines } from "./svg";

export interface Series extends Look {
  name: string;
  values: (number | null)[];
  low?: (number | null)[];
  high?: (number | null)[];
}

function styled(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// More bands than this hide each other; the table has their numbers.
const BANDED = 6;
// Seconds between marks of time: nothing is told in parts of one.
const INCREMENTS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];

function clock(_: uPlot, at: number[], _axis: number, _space: number, step: number): string[] {
  return at.map((v) => {
    const when = new Date(v * 1000), day = when.toLocaleDateString("en", { month: "short", day: "numeric" });
    if (step >= 86400) return day;
    const text = when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
    return text === "00:00" ? day : text;
  });
}

/** Places of values that have none beside them: no line goes through them. */
function alone(values: (number | null)[]): number[] {
  const none = (i: number) => (values[i] ?? null) === null;
  return [...values.keys()].filter((i) => !none(i) && none(i - 1) && none(i + 1));
}

/** The drawing alone. `fill`: areas that stand on each other, whose values are sums already. */
function options(xs: number[], series: Series[], x: string, y: string, time: boolean, width: number, height: number, fill: boolean, range?: [number, number]): [uPlot.Options, uPlot.AlignedData] {
  const data: (number | null)[][] = [xs];
  const drawn: uPlot.Series[] = [{ label: x }];
  const bands: uPlot.Band[] = [];
  const banded = series.filter((one) => one.low).length <= BANDED;
  for (const one of series) {
    data.push(one.values);
    const main = drawn.push({
      label: one.name, stroke: one.colour, width: fill ? 1 : 2, dash: one.dash, spanGaps: false,
      points: { show: true, size: 5, fill: one.colour, filter: (_plot, place, show) => (show ? (xs.length < 3 ? [...xs.keys()] : alone(data[place] as (number | null)[])) : null) }, ...(fill ? { fill: `${one.colour}b0` } : {}),
    }) - 1;
    // Its area ends where the one below begins.
    if (fill && main > 1) bands.push({ series: [main, main - 1] });
    if (banded && one.low && one.high) {
      data.push(one.high, one.low);
      const bound = { stroke: "transparent", points: { show: false } };
      const high = drawn.push({ ...bound }, { ...bound }) - 2;
      bands.push({ series: [high, high + 1], fill: `${one.colour}26` });
    }
  }
  const axis = { stroke: styled("--quiet"), grid: { stroke: styled("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui", labelFont: "12px system-ui" };
  return [
    {
      width, height, series: drawn, bands, legend: { show: false },
      // Half of the widest mark stands beyond the last point.
      padding: [10, 28, 0, 0],
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { x: { time }, ...(range ? { y: { range: () => range } } : {}) },
      axes: [
        { ...axis, label: x, labelSize: 18, size: 34, space: 70, ...(time ? { incrs: INCREMENTS, values: clock } : { values: (_: uPlot, at: number[]) => at.map((v) => number(v)) }) },
        { ...axis, label: y, labelSize: 18, size: 58, values: (_, at) => at.map((v) => number(v)) },
      ],
    },
    data as uPlot.AlignedData,
  ];
}

export function LineChart({ title, note, xs, series, x, y, time = false, fill = false, range, height = 240 }: {
  title: string; note?: string; xs: number[]; series: Series[]; x: string; y: string; time?: boolean; fill?: boolean;
  range?: [number, number]; height?: number;
}) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState<number | null>(null);
  const [night, setNight] = useState(dark.matches);
  useEffect(() => {
    const changed = () => setNight(dark.matches);
    dark.addEventListener("change", changed);
    const seen = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    seen.observe(place.current!);
    return () => {
      seen.disconnect();
      dark.removeEventListener("change", changed);
    };
  }, []);
  useEffect(() => {
    if (!width || xs.length < 2) return;
    const [wanted, data] = options(xs, series, x, y, time, width, height, fill, range);
    wanted.hooks = { setCursor: [(plot) => setAt(plot.cursor.idx ?? null)] };
    const plot = new uPlot(wanted, data, place.current!);
    return () => plot.destroy();
  }, [width, xs, series, night, height]);
  const shown = at !== null && at < xs.length ? at : xs.length - 1;
  const below = (i: number) => (fill && i > 0 ? (series[i - 1]!.values[shown] ?? 0) : 0);
  const where = time ? (v: number) => new Date(v * 1000).toLocaleTimeString() : (v: number) => number(v);
  return (
    <Frame
      title={title} note={note}
      data={() => ({
        columns: [x, ...series.flatMap((s) => [s.name, ...(s.low ? [`${s.name} low`, `${s.name} high`] : [])])],
        rows: xs.map((v, i) => [time ? new Date(v * 1000).toISOString() : v, ...series.flatMap((s) => [s.values[i], ...(s.low ? [s.low[i], s.high?.[i]] : [])])]),
      })}
      picture={() => lines(title, xs, series, x, y, time)}
    >
      <div ref={place} class="plot" role="img" aria-label={`${title}: ${y} by ${x}, ${series.length} series; the numbers are in the legend and in data`}>
        {xs.length < 2 && <p class="quiet">{xs.length ? "One point so far: a line needs two." : "Nothing to draw yet."}</p>}
      </div>
      {xs.length > 0 && (
        <ul class="legend" aria-label={`${title}, at ${x} ${where(xs[shown]!)}`}>
          {series.map((one, i) => (
            <li key={one.name}>
              <Swatch look={one} /><span class="name" title={one.name}>{one.name}</span>
              <span class="number">{number(one.values[shown] === null ? null : one.values[shown]! - below(i))}</span>
            </li>
          ))}
        </ul>
      )}
    </Frame>
  );
}

export function Swatch({ look }: { look: Look }) {
  return (
    <svg class="swatch" viewBox="0 0 20 10" width="20" height="10" aria-hidden="true">
      <line x1="0" y1="5" x2="20" y2="5" stroke={look.colour} stroke-width="3" stroke-dasharray={look.dash.join(" ")} />
    </svg>
  );
}
