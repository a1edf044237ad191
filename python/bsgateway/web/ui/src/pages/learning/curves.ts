import type { ModelVersion } from "../../api.d.ts";

export type Point = readonly [share: number, quality: number];

/** The curves to draw: of the model in force first, then of the others by their age. */
export interface Curves {
  lines: { name: string; points: readonly Point[] }[];
  /** What drawing by lot gives on the rows of the first line. */
  random: readonly Point[];
}

/** More lines than these nobody tells apart. */
const MOST = 3;

export function curvesOf(versions: readonly ModelVersion[]): Curves {
  const told = versions.filter(({ curve }) => curve.length > 0);
  const ordered = [...told].sort((one, other) => order(one) - order(other)).slice(0, MOST);
  return {
    lines: ordered.map(({ id, state, curve }) => ({
      name: `${id} (${state.replace("_", " ")})`,
      points: curve,
    })),
    random: ordered[0]?.random_curve ?? [],
  };
}

function order({ state }: ModelVersion): number {
  return ["in_force", "candidate", "previous", "older", "prior"].indexOf(state);
}
