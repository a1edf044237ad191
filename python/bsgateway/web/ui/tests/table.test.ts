import assert from "node:assert/strict";
import { test } from "node:test";
import { tidy, toCsv, toJson } from "../src/lib/table.ts";

const TABLE = {
  columns: ["name", "spent"],
  rows: [
    ['team "a", b', 1.5],
    ["two\nlines", null],
    ["=1+1", -2],
  ],
} as const;

test("CSV quotes what needs it, and no text becomes a formula", () => {
  assert.equal(toCsv(TABLE), `name,spent\r\n"team ""a"", b",1.5\r\n"two\nlines",\r\n'=1+1,-2\r\n`);
});

test("JSON holds the same values by column", () => {
  assert.deepEqual(JSON.parse(toJson(TABLE)), [
    { name: 'team "a", b', spent: 1.5 },
    { name: "two\nlines", spent: null },
    { name: "=1+1", spent: -2 },
  ]);
});

test("sums of binary fractions lose their noise and nothing else", () => {
  assert.equal(tidy(0.1 + 0.2), 0.3);
  assert.equal(tidy(242.43449999999996), 242.4345);
  assert.equal(tidy(123_456_789_012), 123_456_789_012);
  assert.equal(tidy("0.1"), "0.1");
  assert.equal(tidy(null), null);
});
