import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { described } from "../lib/described.ts";
import { decimal } from "../lib/format.ts";
import type { PlainTable } from "../lib/table.ts";

/** A series of a chart as its legend names it. */
export interface LegendItem {
  name: string;
  color: string;
  /** Drawn lightly, as the area is. */
  faint?: boolean;
  /** Drawn as a line. */
  mark?: boolean;
}

/**
 * A chart with its legend, and the same numbers as a table for whoever asks. `draw` makes the SVG for a width in
 * pixels; give it a stable identity (`useMemo`, `useCallback`), as a new one draws anew. `summary` says in words what
 * the chart shows.
 */
export function Figure(props: {
  title: string;
  summary: string;
  draw: (width: number) => SVGElement;
  table: () => PlainTable;
  legend?: readonly LegendItem[];
  children?: ComponentChildren;
}) {
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  return (
    <figure class="figure" id={id}>
      {props.legend && props.legend.length > 0 && !asTable && <Legend items={props.legend} />}
      {asTable ? (
        <NumberTable caption={props.title} table={props.table()} />
      ) : (
        <Canvas title={props.title} summary={props.summary} draw={props.draw} />
      )}
      <figcaption>
        {props.children}
        <button type="button" class="quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? "Show as chart" : "Show as table"}
          <span class="visually-hidden">: {props.title}</span>
        </button>
      </figcaption>
    </figure>
  );
}

function Canvas(props: { title: string; summary: string; draw: (width: number) => SVGElement }) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.round(entry.contentRect.width)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (width > 0) place.current?.replaceChildren(described(props.draw(width), props.title, props.summary));
  }, [width, props.draw, props.title, props.summary]);
  return <div ref={place} class="canvas" />;
}

export function Legend(props: { items: readonly LegendItem[] }) {
  return (
    <ul class="legend" aria-label="Legend">
      {props.items.map((item) => (
        <li key={item.name}>
          <svg class="legend-swatch" viewBox="0 0 10 10" aria-hidden="true">
            {item.mark ? (
              <path d="M0 5h10" stroke={item.color} stroke-width="2" />
            ) : (
              <rect width="10" height="10" rx="2" fill={item.color} fill-opacity={item.faint ? 0.3 : 1} />
            )}
          </svg>
          {item.name}
        </li>
      ))}
    </ul>
  );
}

function NumberTable(props: { caption: string; table: PlainTable }) {
  const { columns, rows } = props.table;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard
    <section class="table-scroll tall" aria-label={props.caption} tabIndex={0}>
      <table>
        <caption class="visually-hidden">{props.caption}</caption>
        <thead>
          <tr>
            {columns.map((column, at) => (
              <th key={column} scope="col" class={at > 0 ? "number" : undefined}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={String(row[0])}>
              {row.map((value, at) =>
                at === 0 ? (
                  <th key={columns[at]} scope="row">
                    {value}
                  </th>
                ) : (
                  <td key={columns[at]} class="number">
                    {typeof value === "number" ? decimal(value, 6) : value}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
