import { useLayoutEffect, useRef } from "preact/hooks";
import { count, share } from "../lib/format.ts";
import { Explained } from "./status.tsx";
import { ToDecisions } from "./to-decisions.tsx";

export interface Bar {
  name: string;
  value: number;
  doc?: string | undefined;
  /** Number of the colour's class, 1 to 8; the accent if not given. */
  series?: number | undefined;
  /** Of decisions: by what to look for those that are counted. */
  filter?: string | undefined;
}

/** Counts as bars. It is a table, so it reads as one without its bars. */
export function BarTable(props: { caption: string; heading: string; bars: readonly Bar[]; empty?: string }) {
  if (props.bars.length === 0) return <p class="empty">{props.empty ?? "Nothing in this period."}</p>;
  const total = props.bars.reduce((sum, bar) => sum + bar.value, 0);
  const most = Math.max(...props.bars.map((bar) => bar.value), 1);
  return (
    <table class="bars">
      <caption class="visually-hidden">{props.caption}</caption>
      <thead class="visually-hidden">
        <tr>
          <th scope="col">{props.heading}</th>
          <th scope="col">Requests</th>
          <th scope="col">Share</th>
        </tr>
      </thead>
      <tbody>
        {props.bars.map((bar) => (
          <tr key={bar.name}>
            <th scope="row">
              <Explained text={bar.name} doc={bar.doc} />
              <Fill ratio={bar.value / most} series={bar.series} />
            </th>
            <td class="number">
              {bar.filter === undefined ? (
                count(bar.value)
              ) : (
                <ToDecisions
                  filter={bar.filter}
                  value={bar.name}
                  label={`${count(bar.value)} decisions: ${bar.filter} ${bar.name}`}
                >
                  {count(bar.value)}
                </ToDecisions>
              )}
            </td>
            <td class="number faint">{share(bar.value, total)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A bar as long as `ratio` (0-1) of its place. */
export function Fill(props: { ratio: number; series?: number | undefined }) {
  const bar = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    // Not as an attribute: the policy of the page forbids inline styles.
    bar.current?.style.setProperty("--ratio", String(Math.min(Math.max(props.ratio, 0), 1)));
  }, [props.ratio]);
  return (
    <span
      ref={bar}
      class={`fill${props.series === undefined ? "" : ` series-${props.series}`}`}
      aria-hidden="true"
    />
  );
}
