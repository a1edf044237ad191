import { useCallback, useMemo } from "preact/hooks";
import type { ModelVersion } from "../../api.d.ts";
import { Plot, plot } from "../../charts/plot.ts";
import { Card } from "../../components/card.tsx";
import { Figure } from "../../components/figure.tsx";
import { NEUTRAL, seriesColor } from "../../lib/colors.ts";
import { percent } from "../../lib/format.ts";
import { type Curves, curvesOf, type Point } from "./curves.ts";

const RANDOM_DASH = "5 4";
const DASHES = ["none", "9 3", "2 3"];

/** Quality against the share of calls that go to the strong model, beside drawing by lot. */
export function CurveCard(props: { versions: readonly ModelVersion[] }) {
  const curves = useMemo(() => curvesOf(props.versions), [props.versions]);
  const draw = useCallback((width: number) => drawn(curves, width), [curves]);
  const legend = useMemo(
    () => [
      ...curves.lines.map(({ name }, at) => ({ name, color: seriesColor(at) })),
      ...(curves.random.length > 0 ? [{ name: "by lot (dashed)", color: NEUTRAL }] : []),
    ],
    [curves],
  );
  return (
    <Card
      title="Quality and share of dear calls"
      wide
      note="On rows that the model was not trained on. The higher above the line of drawing by lot, the better it tells which requests need the dear model."
    >
      {curves.lines.length === 0 ? (
        <p class="empty">
          No model file that is kept tells its curve. A model that is trained from now on does.
        </p>
      ) : (
        <Figure
          title="Quality against the share of dear calls"
          summary={summaryOf(curves)}
          draw={draw}
          table={() => tableOf(curves)}
          legend={legend}
        />
      )}
    </Card>
  );
}

const wholePercent = (ratio: number) => `${Math.round(ratio * 100)}%`;
const shareOf = ([share]: Point) => share;
const qualityOf = ([, quality]: Point) => quality;

function drawn(curves: Curves, width: number): SVGElement {
  return plot({
    width,
    height: 320,
    marginLeft: 50,
    marginBottom: 44,
    x: { label: "share of dear calls", labelOffset: 38, domain: [0, 1], tickFormat: wholePercent },
    y: { label: "quality", tickFormat: wholePercent, grid: true, zero: false, nice: true },
    marks: [
      ...(curves.random.length > 0
        ? [
            Plot.line(curves.random, {
              x: shareOf,
              y: qualityOf,
              stroke: NEUTRAL,
              strokeDasharray: RANDOM_DASH,
            }),
          ]
        : []),
      ...curves.lines.map(({ points }, at) =>
        Plot.line(points, {
          x: shareOf,
          y: qualityOf,
          stroke: seriesColor(at),
          strokeWidth: 2.2,
          strokeDasharray: DASHES[at] ?? "none",
        }),
      ),
    ],
  });
}

function summaryOf(curves: Curves): string {
  return curves.lines
    .map(({ name, points }) => {
      const half = points.find(([share]) => share >= 0.5);
      return half ? `${name}: quality ${percent(half[1])} with ${percent(half[0])} dear calls` : name;
    })
    .join("; ");
}

function tableOf(curves: Curves) {
  const lines = [
    ...curves.lines,
    ...(curves.random.length > 0 ? [{ name: "by lot", points: curves.random }] : []),
  ];
  return {
    columns: ["Share of dear calls and model", "Quality"],
    rows: lines.flatMap(({ name, points }) =>
      points.map(([share, quality]) => [`${percent(share)}, ${name}`, percent(quality)] as const),
    ),
  };
}
