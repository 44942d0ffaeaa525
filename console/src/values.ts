// Numbers, times and text as people read them.
const DIGITS = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A length of time in the unit that suits it. */
export function duration(ms: number): string {
  for (const [size, unit] of [[86_400_000, "days"], [3_600_000, "hours"], [60_000, "minutes"], [1000, "s"]] as const) if (ms >= 2 * size) return `${number(ms / size)} ${unit}`;
  return `${number(ms)} ms`;
}

/** "1 run", "2 runs". */
export function many(count: number, what: string): string {
  return `${number(count)} ${what}${count === 1 ? "" : "s"}`;
}

/** "The newest run", "The newest 2 runs". */
export function newest(count: number, what: string): string {
  return `The newest ${count === 1 ? what : many(count, what)}`;
}

/** A number with about so many significant digits; counts whole, with separators. */
export function number(value: unknown, digits = 3): string {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value) || Math.abs(value) >= 10 ** (digits + 2)) return DIGITS.format(value);
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -3) return value.toExponential(digits - 1);
  // Numbers of a column end at the same place, unless nothing would be left of one.
  return value.toFixed(Math.max(digits - 1 - (size < -2 ? size : Math.max(size, -1)), 0));
}

export function percent(value: unknown): string {
  return typeof value === "number" && Number.isFinite(value) ? `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %` : "–";
}

const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(iso: string, now = Date.now()): string {
  let value = (Date.parse(iso) - now) / 1000;
  if (Math.abs(value) < 5) return "now";
  for (const [size, unit] of STEPS) {
    if (Math.abs(value) < size) return RELATIVE.format(Math.round(value), unit);
    value /= size;
  }
  return iso;
}

export function json(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent) ?? "null";
}

/** What was typed as a value: JSON if it is some, else text. */
export function typed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Mean with a 95 % interval: Wilson's for shares, else normal. */
export function interval(n: number, sum: number, squares: number, binary: boolean): { mean: number; low: number; high: number } {
  const mean = sum / n, z = 1.959964;
  if (binary) {
    const centre = (mean + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z / (1 + (z * z) / n)) * Math.sqrt((mean * (1 - mean)) / n + (z * z) / (4 * n * n));
    return { mean, low: mean === 0 ? 0 : Math.max(0, centre - half), high: mean === 1 ? 1 : Math.min(1, centre + half) };
  }
  if (n < 2) return { mean, low: NaN, high: NaN };
  const half = z * Math.sqrt(Math.max(0, squares / n - mean * mean) / (n - 1));
  return { mean, low: mean - half, high: mean + half };
}

export function csv(columns: string[], rows: unknown[][]): string {
  const cell = (value: unknown) => {
    const text = value === null || value === undefined ? "" : typeof value === "object" ? json(value) : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

export function save(name: string, kind: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name.replace(/[^\w.-]+/g, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Okabe and Ito's colours and two more that stay apart from them; after ten the same again with dashes.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#6a51a3", "#8c564b", "#7f7f7f", "#2f4b7c"];
const DARK = ["#4aa3e0", "#f0803c", "#2fc297", "#e39bc3", "#e0b020", "#8fd0f5", "#a99be0", "#c79083", "#b0b0b0", "#93abe0"];
export const dark = matchMedia("(prefers-color-scheme: dark)");

export interface Look {
  colour: string;
  dash: number[];
}

/** The look of the arm (or series) at a place of its sorted list. */
export function look(place: number): Look {
  const colours = dark.matches ? DARK : COLOURS;
  return { colour: colours[place % 10]!, dash: [[], [6, 4], [2, 3], [8, 3, 2, 3], [1, 4]][Math.floor(place / 10) % 5]! };
}

const places = new Map<string, string[]>();

/** The same look for the same arm of an experiment on every screen, in the order in which they became known. */
export function lookOf(owner: string, name: string): Look {
  const kept = `arms.${owner}`;
  let known = places.get(owner);
  if (!known) places.set(owner, (known = JSON.parse(localStorage.getItem(kept) ?? "[]") as string[]));
  let place = known.indexOf(name);
  if (place < 0) {
    place = known.push(name) - 1;
    localStorage.setItem(kept, JSON.stringify(known));
  }
  return look(place);
}
