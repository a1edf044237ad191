import assert from "node:assert/strict";
import { test } from "node:test";
import type { Period } from "../src/api.d.ts";
import { cellsOf, cellTable } from "../src/lib/steps.ts";

const PERIOD: Period = {
  since: "2026-03-01T00:00:00Z",
  until: "2026-03-03T00:00:00Z",
  timezone: "UTC",
  step: "day",
  as_of: "2026-03-03T00:00:00Z",
};
const point = (day: number, name: string | null, requests: number) => ({
  at: `2026-03-0${day}T00:00:00Z`,
  name,
  requests,
});

test("series stand in the given order, then by size, and all numbers are in", () => {
  const points = [
    point(2, "big", 9),
    point(1, null, 1),
    point(1, "simple", 2),
    point(2, "simple", 3),
    point(1, "small", 4),
  ];
  const { cells, series } = cellsOf(points, ({ requests }) => requests, PERIOD, {
    none: "none",
    order: ["simple"],
  });
  assert.deepEqual(series, ["simple", "big", "small", "none"]);
  assert.deepEqual(
    cellTable(cells, series, "day", (at) => at.toISOString().slice(8, 10)),
    {
      columns: ["day", "simple", "big", "small", "none"],
      rows: [
        ["01", 2, 0, 4, 1],
        ["02", 3, 9, 0, 0],
      ],
    },
  );
});

test("what is too small for a series of its own is together in one", () => {
  const points = ["a", "b", "c", "d"].map((name, index) => point(1, name, 10 - index));
  const { cells, series } = cellsOf(points, ({ requests }) => requests, PERIOD, { none: "none", most: 3 });
  assert.deepEqual(series, ["a", "b", "other"]);
  assert.deepEqual(
    cells.map((cell) => cell.value),
    [10, 9, 15],
  );
});

test("a bar ends where its step does", () => {
  const { cells } = cellsOf([point(1, "a", 1)], ({ requests }) => requests, PERIOD, { none: "none" });
  assert.equal(cells[0]?.end.toISOString(), "2026-03-02T00:00:00.000Z");
});
