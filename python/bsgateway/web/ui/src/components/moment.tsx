import { clock, moment } from "../lib/format.ts";

/** A time in the chosen zone; the exact one shows on hover, and when the link around it has the focus. */
export function Moment(props: { at: string; zone: string; form?: "whole" | "clock" | "short" }) {
  return (
    <time class="moment" dateTime={props.at} data-exact={props.at}>
      {shown(props.at, props.zone, props.form ?? "whole")}
    </time>
  );
}

function shown(at: string, zone: string, form: "whole" | "clock" | "short"): string {
  if (form === "clock") return clock(at, zone);
  const whole = moment(at, zone, true);
  if (form === "whole") return whole;
  const [, year] = /(\d{4}),/.exec(moment(new Date(), zone)) ?? [];
  return year ? whole.replace(` ${year},`, ",") : whole; // this year goes without saying
}
