import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { announce } from "../lib/announce.ts";
import { clock, moment } from "../lib/format.ts";

/** The heading of a page; the browser's title and screen readers follow it. */
export function PageTitle(props: { title: string; lead?: ComponentChildren; children?: ComponentChildren }) {
  useEffect(() => {
    document.title = `${props.title} · BSGateway`;
    announce(props.title);
  }, [props.title]);
  return (
    <header class="page-head">
      <div>
        <h1>{props.title}</h1>
        {props.lead && <p class="lead">{props.lead}</p>}
      </div>
      {props.children}
    </header>
  );
}

/** How fresh the numbers are. */
export function AsOf(props: { at: string; zone: string }) {
  return (
    <p class="as-of" title={`${moment(props.at, props.zone, true)} (${props.zone})`}>
      As of <time dateTime={props.at}>{clock(props.at, props.zone)}</time>
    </p>
  );
}
