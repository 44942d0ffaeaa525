// A line so small that it stands in a table.
export function Spark({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(...values, 1);
  const points = values.map((v, i) => `${((i + 0.5) / values.length) * 100},${(22 - (v / most) * 20).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 100 24" width="100" height="24" role="img" aria-label={label}>
      <title>{label}</title>
      <polyline points={points.join(" ")} fill="none" stroke="var(--accent)" stroke-width="1.5" />
    </svg>
  );
}
