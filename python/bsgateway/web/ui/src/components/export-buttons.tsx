import { type PlainTable, toCsv, toJson } from "../lib/table.ts";

/** Saves the shown table as a file. `name` is the file's, without its ending. */
export function ExportButtons(props: { name: string; table: () => PlainTable }) {
  return (
    <>
      <button type="button" onClick={() => save(`${props.name}.csv`, "text/csv", toCsv(props.table()))}>
        CSV
      </button>
      <button
        type="button"
        onClick={() => save(`${props.name}.json`, "application/json", toJson(props.table()))}
      >
        JSON
      </button>
    </>
  );
}

function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
