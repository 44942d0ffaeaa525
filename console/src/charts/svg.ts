// Charts as SVG files: nodes, not text, so that no name in them is ever markup.
import { number } from "../values";
import type { Series } from "./line";

const SVG = "http://www.w3.org/2000/svg";

export function node(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

export function ticks(low: number, high: number, about = 5): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / about, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= rough)!;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

export function written(root: SVGElement): string {
  return new XMLSerializer().serializeToString(root);
}

/** A chart of lines with bands, for a report: always on white. */
export function lines(title: string, xs: number[], series: Series[], x: string, y: string, time: boolean): string {
  const wide = 800, high = 420, left = 70, right = 170, top = 40, bottom = 50;
  const all = series.flatMap((s) => [...s.values, ...(s.low ?? []), ...(s.high ?? [])]).filter((v) => v !== null && Number.isFinite(v)) as number[];
  let [least, most] = [Math.min(...all), Math.max(...all)];
  if (!(most > least)) [least, most] = [(least || 0) - 0.5, (most || 0) + 0.5];
  const [first, last] = [xs[0] ?? 0, xs.at(-1) ?? 1];
  const px = (v: number) => left + ((v - first) / (last - first || 1)) * (wide - left - right);
  const py = (v: number) => high - bottom - ((v - least) / (most - least)) * (high - top - bottom);
  const root = node("svg", { xmlns: SVG, viewBox: `0 0 ${wide} ${high}`, "font-family": "system-ui, sans-serif", "font-size": 12 });
  root.append(node("rect", { width: wide, height: high, fill: "#fff" }), node("text", { x: left, y: 22, "font-size": 15 }, title));
  for (const v of ticks(least, most)) {
    root.append(node("line", { x1: left, x2: wide - right, y1: py(v), y2: py(v), stroke: "#ddd" }));
    root.append(node("text", { x: left - 8, y: py(v) + 4, "text-anchor": "end" }, number(v)));
  }
  for (const v of ticks(first, last)) {
    const text = time ? new Date(v * 1000).toISOString().slice(11, 19) : number(v);
    root.append(node("text", { x: px(v), y: high - bottom + 18, "text-anchor": "middle" }, text));
  }
  root.append(node("text", { x: (left + wide - right) / 2, y: high - 10, "text-anchor": "middle" }, x));
  root.append(node("text", { x: 16, y: 34, "text-anchor": "start" }, y));
  series.forEach((one, i) => {
    const points = (values: (number | null)[]) =>
      values.flatMap((v, at) => (v === null || !Number.isFinite(v) ? [] : [`${px(xs[at]!).toFixed(1)},${py(v).toFixed(1)}`]));
    if (one.low && one.high) {
      root.append(node("polygon", { points: [...points(one.high), ...points(one.low).reverse()].join(" "), fill: one.colour, opacity: 0.15 }));
    }
    root.append(node("polyline", { points: points(one.values).join(" "), fill: "none", stroke: one.colour, "stroke-width": 2, "stroke-dasharray": one.dash.join(" ") }));
    root.append(node("line", { x1: wide - right + 12, x2: wide - right + 36, y1: top + 18 * i, y2: top + 18 * i, stroke: one.colour, "stroke-width": 2, "stroke-dasharray": one.dash.join(" ") }));
    root.append(node("text", { x: wide - right + 42, y: top + 18 * i + 4 }, one.name.length > 20 ? `${one.name.slice(0, 19)}…` : one.name));
  });
  return written(root);
}
