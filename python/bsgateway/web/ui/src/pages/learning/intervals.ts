import type { HeldOut } from "../../api.d.ts";
import { words } from "../decisions/steps.ts";

/** What a model is better by; all other estimates are scores. */
const DIFFERENCE = "difference";

/**
 * A scale for the estimate `name`, the same for all models: scores go from 0 to 1, a difference as far to both sides of
 * 0 as it takes.
 */
export function intervalRange(held: readonly HeldOut[], name: string): [low: number, high: number] {
  const alike = held.filter((each) => (each.name === DIFFERENCE) === (name === DIFFERENCE));
  const ends = alike.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]);
  if (name !== DIFFERENCE) return [Math.min(0, ...ends), Math.max(1, ...ends)];
  const most = Math.max(...ends.map(Math.abs), Number.EPSILON);
  return [-most, most];
}

/** Where a value lies on a scale, 0-1. */
export function placeOn([low, high]: readonly [number, number], value: number): number {
  return high > low ? (value - low) / (high - low) : 0;
}

/** Whether putting a version in force takes the word that it shall be done all the same. */
export function takesForce(version: { state: string; better: boolean | null }): boolean {
  return version.better !== true && version.state !== "previous" && version.state !== "prior";
}

/** A name of ours as words; names of files and models as they are. */
export function plainName(name: string): string {
  if (name === "apgr") return "APGR";
  return /^[a-z_]+$/.test(name) ? words(name) : name;
}
