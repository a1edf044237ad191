import type { HeldOut } from "../../api.d.ts";
import { placeOn } from "./intervals.ts";

/** An estimate as a point, its interval as a line; a mark where the scale has 0 if there is less than that. */
export function IntervalBar(props: { held: HeldOut; range: readonly [low: number, high: number] }) {
  const { held, range } = props;
  const x = (value: number) => 2 + placeOn(range, value) * 196;
  return (
    <svg viewBox="0 0 200 16" class="interval" aria-hidden="true">
      <line x1={2} x2={198} y1={8} y2={8} class="interval-axis" />
      {range[0] < 0 && <line x1={x(0)} x2={x(0)} y1={2} y2={14} class="interval-axis" />}
      {held.low !== null && held.high !== null && (
        <line x1={x(held.low)} x2={x(held.high)} y1={8} y2={8} class="interval-line" />
      )}
      <circle cx={x(held.value)} cy={8} r={2.5} class="interval-point" />
    </svg>
  );
}
