import type { Percentiles } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { type Column, DataTable } from "../../components/data-table.tsx";
import { count, milliseconds } from "../../lib/format.ts";

interface Row {
  model: string;
  whole: Percentiles;
  first: Percentiles | undefined;
}

/** How long the providers took, by model. */
export function Latencies(props: { latency: readonly Percentiles[]; firstToken: readonly Percentiles[] }) {
  const rows = props.latency.map((whole) => ({
    model: whole.name ?? "unknown",
    whole,
    first: props.firstToken.find(({ name }) => name === whole.name),
  }));
  return (
    <Card
      title="Provider latency"
      note="Half, 90% and 99% of the answers came within these times, right to 3%. An answer that was not streamed has its first token at its end."
    >
      <DataTable
        caption="Provider latency by model"
        columns={COLUMNS}
        rows={rows}
        rowKey={(row) => row.model}
      />
    </Card>
  );
}

const COLUMNS: readonly Column<Row>[] = [
  { name: "model", value: (row) => row.model },
  { name: "answers", numeric: true, value: (row) => row.whole.count, cell: (row) => count(row.whole.count) },
  ...(["p50", "p90", "p99"] as const).map((name) => ({
    name,
    numeric: true,
    value: (row: Row) => row.whole[name],
    cell: (row: Row) => milliseconds(row.whole[name]),
  })),
  ...(["p50", "p90", "p99"] as const).map((name) => ({
    name: `first token ${name}`,
    numeric: true,
    value: (row: Row) => row.first?.[name] ?? null,
    cell: (row: Row) => milliseconds(row.first?.[name]),
  })),
];
