import type { TierView, Traffic } from "../../api.d.ts";
import type { OverTime } from "../../charts/over-time.ts";
import { NEUTRAL, seriesColor, tierColor } from "../../lib/colors.ts";
import { compact } from "../../lib/format.ts";
import { cellsOf, momentsOf, nonEmpty, OTHER } from "../../lib/steps.ts";

export function tiersOverTime(data: Traffic, tiers: readonly TierView[]): OverTime {
  const { cells, series } = cellsOf(data.tiers, (point) => point.requests, data.period, {
    none: "not routed by score",
    order: tiers.map((tier) => tier.name),
  });
  const shown = nonEmpty(cells, series);
  const colors = shown.series.map((name) => tierColor(tiers, name));
  return {
    ...shown,
    moments: momentsOf(data.tiers),
    colors,
    period: data.period,
    unit: "requests",
    format: compact,
  };
}

export function failuresOverTime(data: Traffic): OverTime {
  const { cells, series } = cellsOf(data.failures, (point) => point.requests, data.period, {
    none: "unknown",
    most: 6,
  });
  const shown = nonEmpty(cells, series);
  const colors = shown.series.map((name, index) => (name === OTHER ? NEUTRAL : seriesColor(index)));
  return {
    ...shown,
    moments: momentsOf(data.tiers),
    colors,
    period: data.period,
    unit: "failed requests",
    format: compact,
  };
}
