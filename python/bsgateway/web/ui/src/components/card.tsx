import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

/** A part of a page with a heading of its own. `note` is a line below it, `actions` stand at its right. */
export function Card(props: {
  title: string;
  note?: ComponentChildren;
  actions?: ComponentChildren;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class={props.wide ? "card wide" : "card"} aria-labelledby={id}>
      <header class="card-head">
        <div>
          <h2 id={id}>{props.title}</h2>
          {props.note && <p class="note">{props.note}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.children}
    </section>
  );
}

/** Big numbers; children are `Stat`s. */
export function Stats(props: { children: ComponentChildren }) {
  return <div class="stats">{props.children}</div>;
}

/** One number that a page is about. */
export function Stat(props: {
  label: string;
  value: ComponentChildren;
  note?: ComponentChildren;
  tone?: "good" | "bad" | "main";
}) {
  return (
    <dl class={props.tone ? `stat ${props.tone}` : "stat"}>
      <dt>{props.label}</dt>
      <dd class="value">{props.value}</dd>
      {props.note && <dd class="note">{props.note}</dd>}
    </dl>
  );
}
