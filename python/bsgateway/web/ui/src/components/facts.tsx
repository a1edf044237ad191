import type { ComponentChildren } from "preact";

export type Fact = readonly [name: string, value: ComponentChildren];

/** Names and values; what has no value (null, undefined, empty) is left out. */
export function Facts(props: { facts: readonly Fact[] }) {
  const told = props.facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return (
    <dl class="facts">
      {told.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Words of a list beside each other. */
export function Chips(props: { items: readonly string[] }) {
  if (props.items.length === 0) return null;
  return (
    <span class="chips">
      {props.items.map((item) => (
        <span key={item} class="badge">
          {item}
        </span>
      ))}
    </span>
  );
}
