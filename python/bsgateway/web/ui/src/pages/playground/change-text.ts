import { money, NONE, percent } from "../../lib/format.ts";

/** A change of cost with its sign, and as a share of what it was. */
export function costChange(is: number | null, was: number | null): string {
  if (is === null || was === null) return NONE;
  const change = is - was;
  if (Math.abs(change) < 1e-9 * Math.max(Math.abs(was), 1e-3)) return "±0";
  const relative = was > 0 ? ` (${sign(change)}${percent(Math.abs(change) / was)})` : "";
  return `${sign(change)}${money(Math.abs(change))}${relative}`;
}

/** A change of a share (0-1), in points of a hundred. */
export function shareChange(is: number, was: number): string {
  const points = (is - was) * 100;
  return Math.abs(points) < 0.05 ? "±0" : `${sign(points)}${Math.abs(points).toFixed(1)}`;
}

function sign(change: number): string {
  return change < 0 ? "−" : "+";
}
