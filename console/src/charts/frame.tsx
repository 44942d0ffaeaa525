// What every chart has: a title that names its subject, its data as CSV, its picture as SVG.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { csv, save } from "../values";

export interface Data {
  columns: string[];
  rows: unknown[][];
}

export function Frame({ title, note, data, picture, children }: {
  title: string; note?: string; data: () => Data; picture: () => string; children: ComponentChildren;
}) {
  const id = useId();
  const download = () => {
    const { columns, rows } = data();
    save(`${title}.csv`, "text/csv", csv(columns, rows));
  };
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption>
        <span id={id}>{title}</span>
        <span class="tools">
          <button type="button" class="small" onClick={download} aria-label={`data of ${title}`}>data</button>
          <button type="button" class="small" onClick={() => save(`${title}.svg`, "image/svg+xml", picture())} aria-label={`picture of ${title}`}>picture</button>
        </span>
      </figcaption>
      {children}
      {note && <p class="quiet">{note}</p>}
    </figure>
  );
}
