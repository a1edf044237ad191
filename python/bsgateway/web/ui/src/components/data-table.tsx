import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type PlainTable, tidy } from "../lib/table.ts";

/** A column: `value` is what is exported and sorted by, `cell` what is shown (the value, if not given). */
export interface Column<Row> {
  name: string;
  value: (row: Row) => string | number | null;
  cell?: (row: Row) => ComponentChildren;
  numeric?: boolean;
  /** What the heading means, for those who point at it. */
  hint?: string;
}

interface Sorting {
  column: string;
  descending: boolean;
}

/** A table whose columns sort. It scrolls within itself where the screen is narrow. */
export function DataTable<Row>(props: {
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  rowKey: (row: Row, index: number) => string;
  total?: Row;
  empty?: string;
  sortable?: boolean;
}) {
  const [sorting, setSorting] = useState<Sorting | null>(null);
  if (props.rows.length === 0) return <p class="empty">{props.empty ?? "Nothing in this period."}</p>;
  const rows = sorting ? sorted(props.rows, props.columns, sorting) : props.rows;
  const cells = (row: Row) =>
    props.columns.map((column, at) => {
      const content = column.cell ? column.cell(row) : column.value(row);
      const kind = column.numeric ? "number" : undefined;
      return at === 0 ? (
        <th key={column.name} scope="row" class={kind}>
          {content}
        </th>
      ) : (
        <td key={column.name} class={kind}>
          {content}
        </td>
      );
    });
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard
    <section class="table-scroll" aria-label={props.caption} tabIndex={0}>
      <table>
        <caption class="visually-hidden">{props.caption}</caption>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <Heading
                key={column.name}
                column={column}
                sorting={props.sortable === false ? undefined : sorting}
                onSort={setSorting}
              />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={props.rowKey(row, index)}>{cells(row)}</tr>
          ))}
        </tbody>
        {props.total !== undefined && (
          <tfoot>
            <tr>{cells(props.total)}</tr>
          </tfoot>
        )}
      </table>
    </section>
  );
}

/** `rows` as plain values, for export. */
export function plain<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): PlainTable {
  return {
    columns: columns.map((column) => column.name),
    rows: rows.map((row) => columns.map((column) => tidy(column.value(row)))),
  };
}

function Heading<Row>(props: {
  column: Column<Row>;
  sorting: Sorting | null | undefined;
  onSort: (sorting: Sorting) => void;
}) {
  const { column, sorting } = props;
  const kind = column.numeric ? "number" : undefined;
  if (sorting === undefined) {
    return (
      <th scope="col" class={kind} title={column.hint}>
        {column.name}
      </th>
    );
  }
  const mine = sorting?.column === column.name ? sorting : null;
  const descending = mine ? !mine.descending : Boolean(column.numeric);
  return (
    <th scope="col" class={kind} aria-sort={mine ? (mine.descending ? "descending" : "ascending") : "none"}>
      <button
        type="button"
        class="sort"
        title={column.hint}
        onClick={() => props.onSort({ column: column.name, descending })}
      >
        {column.name}
        <span aria-hidden="true">{mine ? (mine.descending ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function sorted<Row>(rows: readonly Row[], columns: readonly Column<Row>[], sorting: Sorting): Row[] {
  const column = columns.find(({ name }) => name === sorting.column);
  if (!column) return [...rows];
  const sign = sorting.descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    if (a === b) return 0;
    if (a === null) return 1; // what has no value stands last, either way
    if (b === null) return -1;
    return (
      sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)))
    );
  });
}
