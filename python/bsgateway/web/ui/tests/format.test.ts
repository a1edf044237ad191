import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../src/lib/format.ts";

test("money is exact to the cent, and tells small sums apart", () => {
  const shown: [number | null, string][] = [
    [0, "$0.00"],
    [1234567.891, "$1,234,567.89"],
    [12.345, "$12.35"],
    [-3.5, "-$3.50"],
    [0.996, "$1.00"],
    [0.25, "$0.25"],
    [0.0123456, "$0.0123"],
    [0.00001234, "$0.000012"],
    [0.0000001, "< $0.000001"],
    [-0.0000001, "> -$0.000001"],
    [null, "–"],
  ];
  for (const [value, text] of shown) assert.equal(format.money(value), text, `${value}`);
});

test("an axis shows whole dollars without cents", () => {
  assert.equal(format.axisMoney(30), "$30");
  assert.equal(format.axisMoney(2.5), "$2.50");
});

test("shares", () => {
  assert.equal(format.share(1, 0), "–");
  assert.equal(format.share(1, 3), "33.3%");
  assert.equal(format.share(1, 80), "1.3%");
  assert.equal(format.share(1, 5000), "0.02%");
  assert.equal(format.share(3, 3), "100%");
  assert.equal(format.share(0, 3), "0%");
  assert.equal(format.share(-1, 2), "-50.0%");
});

test("times in the unit that suits", () => {
  assert.equal(format.microseconds(8.44), "8.4 µs");
  assert.equal(format.microseconds(43.2), "43 µs");
  assert.equal(format.microseconds(1234), "1.23 ms");
  assert.equal(format.milliseconds(812.3), "812 ms");
  assert.equal(format.milliseconds(4200), "4.2 s");
  assert.equal(format.milliseconds(180_000), "3 min");
  assert.equal(format.milliseconds(null), "–");
});

test("counts and bytes", () => {
  assert.equal(format.compact(9999), "9,999");
  assert.equal(format.compact(1_234_567), "1.23M");
  assert.equal(format.bytes(0), "0 bytes");
  assert.equal(format.bytes(48_211), "48.2 KB");
  assert.equal(format.bytes(3_000_000_000), "3 GB");
});

test("moments are shown by the clock of the zone", () => {
  const at = "2026-03-29T01:30:00Z";
  assert.equal(format.moment(at, "UTC"), "29 Mar 2026, 01:30");
  assert.equal(format.moment(at, "Europe/Berlin"), "29 Mar 2026, 03:30");
  assert.equal(format.clock(at, "Asia/Kolkata"), "07:00:00");
  assert.equal(format.stepName(new Date(at), "month", "UTC"), "March 2026");
  assert.equal(format.tickName(new Date("2026-03-28T23:00:00Z"), "day", "Europe/Berlin"), "29 Mar");
});
