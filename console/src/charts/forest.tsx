// Estimates with their intervals under each other.
import { useRef } from "preact/hooks";
import { number } from "../values";
import { Frame } from "./frame";
import { ticks, written } from "./svg";

export interface Estimated {
  name: string;
  value: number | null;
  low: number | null;
  high: number | null;
}

export function Forest({ title, note, rows, x, mark }: { title: string; note?: string; rows: Estimated[]; x: string; mark?: { at: number; name: string } }) {
  const ref = useRef<SVGSVGElement>(null);
  const known = rows.flatMap((r) => [r.value, r.low, r.high]).filter((v): v is number => v !== null && Number.isFinite(v));
  if (mark) known.push(mark.at);
  let [least, most] = [Math.min(...known), Math.max(...known)];
  if (!known.length) [least, most] = [0, 1];
  const pad = (most - least || 1) * 0.05;
  [least, most] = [least - pad, most + pad];
  const wide = 440, left = 12, right = 12, step = 38, high = rows.length * step + 50;
  const px = (v: number) => left + ((v - least) / (most - least)) * (wide - left - right);
  return (
    <Frame
      title={title} note={note}
      data={() => ({ columns: ["name", "value", "low", "high"], rows: rows.map((r) => [r.name, r.value, r.low, r.high]) })}
      picture={() => written(ref.current!)}
    >
      <svg ref={ref} class="forest" viewBox={`0 0 ${wide} ${high}`} role="img" aria-label={`${title}: ${rows.map((r) => `${r.name} ${number(r.value)}`).join(", ")}`}
        font-family="system-ui, sans-serif" font-size="13" fill="currentColor">
        {ticks(least, most).map((v) => (
          <g key={v}>
            <line x1={px(v)} x2={px(v)} y1="4" y2={high - 42} stroke="currentColor" stroke-opacity="0.15" />
            <text x={px(v)} y={high - 26} text-anchor="middle">{number(v)}</text>
          </g>
        ))}
        {mark && <line x1={px(mark.at)} x2={px(mark.at)} y1="4" y2={high - 42} stroke="currentColor" stroke-dasharray="4 3"><title>{mark.name}</title></line>}
        {rows.map((r, i) => {
          const y = 28 + i * step;
          return (
            <g key={r.name}>
              <text x={2} y={y - 9}>{r.name.length > 44 ? `${r.name.slice(0, 43)}…` : r.name}<title>{r.name}</title></text>
              {r.low !== null && r.high !== null && <line x1={px(r.low)} x2={px(r.high)} y1={y} y2={y} stroke="#0072b2" stroke-width="2" />}
              {r.value !== null ? <circle cx={px(r.value)} cy={y} r="4.5" fill="#0072b2" /> : <text x={left + 4} y={y + 5} fill-opacity="0.7">cannot be told</text>}
              <text x={wide - 2} y={y - 9} text-anchor="end">{number(r.value)}</text>
            </g>
          );
        })}
        <text x={wide / 2} y={high - 6} text-anchor="middle">{x}</text>
      </svg>
    </Frame>
  );
}
