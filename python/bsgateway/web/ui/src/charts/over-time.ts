import type { Period } from "../api.d.ts";
import { stepName, tickName } from "../lib/format.ts";
import type { Cell } from "../lib/steps.ts";
import { Plot, plot } from "./plot.ts";

export interface OverTime {
  cells: readonly Cell[];
  /** Where the steps begin, those without a value, too. */
  moments: readonly Date[];
  series: readonly string[];
  colors: readonly string[];
  period: Period;
  /** What a value is, on the axis. */
  unit: string;
  format: (value: number) => string;
  /** The same in few letters, for the axis. */
  axis?: ((value: number) => string) | undefined;
  /** A mark over each bar, which it is to be held against; what lies between is named `gap`. */
  line?: { name: string; gap: string; values: readonly { at: Date; end: Date; value: number }[] } | undefined;
}

/** Stacked bars over time, one for each step. Steps of days and longer are those of the period's time zone. */
export function overTime(of: OverTime, width: number, height = 260): SVGElement {
  const { period } = of;
  const steps = stepsOf(of);
  const ticks = ticksOf(of.moments, Math.max(2, Math.floor(width / 90)));
  const highest = Math.max(0, ...steps.map(({ top }) => top));
  // Of a few things that can only be counted, no fractions.
  const whole = of.cells.every(({ value }) => Number.isInteger(value));
  const middle = (step: { at: Date; end: Date }) => new Date((step.at.getTime() + step.end.getTime()) / 2);
  return plot({
    width,
    height,
    marginLeft: 56,
    marginRight: 8,
    marginTop: 24,
    x: {
      type: "utc",
      label: null,
      domain: domainOf(of),
      ticks,
      tickFormat: (at: Date) => tickName(at, period.step, period.timezone),
    },
    y: {
      label: of.unit,
      labelArrow: "none",
      grid: true,
      ticks: whole ? Math.max(1, Math.min(5, highest)) : 5,
      tickFormat: of.axis ?? of.format,
      nice: true,
      zero: true,
    },
    color: { type: "ordinal", domain: [...of.series], range: [...of.colors] },
    marks: [
      Plot.rectY(of.cells, {
        x1: "at",
        x2: "end",
        y: "value",
        fill: "series",
        order: [...of.series],
        insetLeft: 0.5,
        insetRight: 0.5,
        insetTop: 0.5,
      }),
      of.line
        ? Plot.rectY(gapsOf(of, steps), {
            x1: "at",
            x2: "end",
            y1: "from",
            y2: "to",
            fill: GAP,
            fillOpacity: 0.16,
            insetLeft: 0.5,
            insetRight: 0.5,
          })
        : null,
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
      of.line
        ? Plot.ruleY(of.line.values, {
            x1: "at",
            x2: "end",
            y: "value",
            stroke: MARK,
            strokeWidth: 2,
          })
        : null,
      Plot.tip(
        steps,
        Plot.pointerX({
          x: middle,
          y: "top",
          title: "title",
          ariaHidden: "true",
          lineHeight: 1.35,
          fill: "var(--card)",
          stroke: "var(--line-strong)",
        }),
      ),
    ],
  });
}

/** The colour of what lies between the bars and their marks, and that of the marks. */
export const GAP = "var(--good)";
export const MARK = "var(--ink)";

function gapsOf(of: OverTime, steps: readonly StepOf[]) {
  const tops = new Map(steps.map((step) => [step.at.getTime(), step.top]));
  return (of.line?.values ?? [])
    .map(({ at, end, value }) => ({ at, end, from: tops.get(at.getTime()) ?? 0, to: value }))
    .filter(({ from, to }) => to > from);
}

/** The whole period, and the whole of the steps at its ends. */
function domainOf(of: OverTime): [Date, Date] {
  const starts = of.cells.map(({ at }) => at.getTime());
  const ends = of.cells.map(({ end }) => end.getTime());
  return [
    new Date(Math.min(new Date(of.period.since).getTime(), ...starts)),
    new Date(Math.max(new Date(of.period.until).getTime(), ...ends)),
  ];
}

interface StepOf {
  at: Date;
  end: Date;
  top: number;
  title: string;
}

function stepsOf(of: OverTime): StepOf[] {
  const byStep = Map.groupBy(of.cells, (cell) => cell.at.getTime());
  return [...byStep.values()].flatMap((cells) => {
    const first = cells[0];
    if (!first) return [];
    const total = cells.reduce((sum, cell) => sum + cell.value, 0);
    const parts = of.series
      .map((name) => ({ name, value: cells.find((cell) => cell.series === name)?.value ?? 0 }))
      .filter(({ value }) => value !== 0)
      .map(({ name, value }) => `${name}  ${of.format(value)}`);
    const line = of.line?.values.find(({ at }) => at.getTime() === first.at.getTime());
    const title = [
      stepName(first.at, of.period.step, of.period.timezone),
      ...parts,
      ...(parts.length > 1 ? [`together  ${of.format(total)}`] : []),
      ...(line && of.line ? [`${of.line.name}  ${of.format(line.value)}`] : []),
    ].join("\n");
    return [{ at: first.at, end: first.end, top: total, title }];
  });
}

/** Every so manyth of `moments`, so that at most `most` are left. */
function ticksOf(moments: readonly Date[], most: number): Date[] {
  const every = Math.max(1, Math.ceil(moments.length / most));
  return moments.filter((_, index) => index % every === 0);
}
