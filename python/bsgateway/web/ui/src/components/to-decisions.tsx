import type { ComponentChildren } from "preact";
import { Link } from "wouter-preact";
import { carried, useQuery, withQuery } from "../lib/url-state.ts";

/** A link to the decisions of the same period that have `value` as their `filter`. */
export function ToDecisions(props: {
  filter: string;
  value: string;
  label?: string;
  children: ComponentChildren;
}) {
  const [query] = useQuery();
  const wanted = carried(query);
  wanted.set(props.filter, props.value);
  return (
    <Link
      href={withQuery("/decisions", wanted)}
      aria-label={props.label}
      title={`Decisions: ${props.filter} ${props.value}`}
    >
      {props.children}
    </Link>
  );
}
