import { useCallback, useMemo } from "preact/hooks";
import { GAP, MARK, type OverTime, overTime } from "../charts/over-time.ts";
import { stepName } from "../lib/format.ts";
import { cellTable } from "../lib/steps.ts";
import { Figure, type LegendItem } from "./figure.tsx";

/** Stacked bars over time with legend, description and table. Give `of` a stable identity. */
export function OverTimeFigure(props: { title: string; of: OverTime; children?: preact.ComponentChildren }) {
  const { of, title } = props;
  const draw = useCallback((width: number) => overTime(of, width), [of]);
  const legend = useMemo(() => legendOf(of), [of]);
  if (of.cells.length === 0) return <p class="empty">Nothing in this period.</p>;
  return (
    <Figure title={title} summary={summaryOf(of)} draw={draw} table={() => tableOf(of)} legend={legend}>
      {props.children}
    </Figure>
  );
}

function legendOf(of: OverTime): LegendItem[] {
  const items = of.series.map((name, index) => ({ name, color: of.colors[index] ?? "currentColor" }));
  if (!of.line) return items;
  return [
    ...items,
    { name: of.line.gap, color: GAP, faint: true },
    { name: of.line.name, color: MARK, mark: true },
  ];
}

function summaryOf(of: OverTime): string {
  const sums = of.series.map((name) => {
    const sum = of.cells.reduce((total, cell) => (cell.series === name ? total + cell.value : total), 0);
    return `${name} ${of.format(sum)}`;
  });
  return `${of.unit} per ${of.period.step === "quarter" ? "quarter of an hour" : of.period.step}, in all: ${sums.join(", ")}`;
}

function tableOf(of: OverTime) {
  const table = cellTable(of.cells, of.series, "From", (at) =>
    stepName(at, of.period.step, of.period.timezone),
  );
  if (!of.line) return table;
  const values = new Map(
    of.line.values.map(({ at, value }) => [stepName(at, of.period.step, of.period.timezone), value]),
  );
  return {
    columns: [...table.columns, of.line.name],
    rows: table.rows.map((row) => [...row, values.get(String(row[0])) ?? 0]),
  };
}
