/** A table of plain values: what "show as table", CSV and JSON give is the same. */
export interface PlainTable {
  columns: readonly string[];
  rows: readonly (readonly (string | number | null)[])[];
}

/** `value` without the last digits of a sum of binary fractions: 242.4345, not 242.43449999999996. */
export function tidy<T extends string | number | null>(value: T): T | number {
  return typeof value === "number" ? Number(value.toPrecision(12)) : value;
}

/** RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe before it. */
export function toCsv(table: PlainTable): string {
  return [table.columns, ...table.rows]
    .map((row) => row.map(csvField).join(","))
    .join("\r\n")
    .concat("\r\n");
}

/** An array of objects with the column names as keys. */
export function toJson(table: PlainTable): string {
  const objects = table.rows.map((row) =>
    Object.fromEntries(row.map((value, at) => [table.columns[at], value])),
  );
  return `${JSON.stringify(objects, null, 2)}\n`;
}

function csvField(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
