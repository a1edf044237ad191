import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { WhatIf } from "../src/api.d.ts";
import { applied, limits, SCORES, shifted, tierAt, withBorder } from "../src/whatif.ts";

interface Case {
  log: string;
  borders: number[];
  bias: number;
  applied: ReturnType<typeof applied>;
}

// The same file that tests/unit/test_what_if.py reads: expectations are counted row by row, in Python.
const FILE = new URL("../../../../../tests/data/what_if_cases.json", import.meta.url);
const { logs, cases } = JSON.parse(readFileSync(FILE, "utf8")) as {
  logs: Record<string, WhatIf>;
  cases: Case[];
};

function log(name: string): WhatIf {
  const found = logs[name];
  assert.ok(found, name);
  return found;
}

function close(is: number | null, expected: number | null): void {
  if (is === null || expected === null) assert.equal(is, expected);
  else
    assert.ok(Math.abs(is - expected) <= 1e-9 * Math.max(1, Math.abs(expected)), `${is} is not ${expected}`);
}

test("all borders and biases make of the log what was counted row by row", () => {
  assert.ok(cases.length > 10);
  for (const each of cases) {
    const found = applied(log(each.log), each.borders, each.bias);
    assert.equal(found.moved, each.applied.moved);
    close(found.cost, each.applied.cost);
    assert.equal(found.tiers.length, each.applied.tiers.length);
    each.applied.tiers.forEach((tier, at) => {
      const mine = found.tiers[at];
      assert.ok(mine);
      assert.equal(mine.tier, tier.tier);
      assert.equal(mine.requests, tier.requests);
      close(mine.share, tier.share);
      close(mine.cost, tier.cost);
    });
  }
});

test("borders that are none are refused", () => {
  const whatIf = log("plain");
  for (const borders of [[31], [66, 31], [31, 31], [0, 31], [31, 66, 80]]) {
    assert.throws(() => applied(whatIf, borders, 0), RangeError);
  }
});

test("another bias moves all requests and loses none", () => {
  for (const whatIf of Object.values(logs)) {
    const all = whatIf.requests.reduce((sum, count) => sum + count, 0);
    for (const bias of [-100, -7, 0, 7, 100]) {
      const counts = shifted(whatIf, bias);
      assert.equal(counts.length, SCORES);
      assert.equal(
        counts.reduce((sum, count) => sum + count, 0),
        all,
      );
    }
  }
});

test("a score belongs to the tier that begins at or below it", () => {
  assert.deepEqual(
    [-5, 0, 30, 31, 65, 66, 100, 130].map((score) => tierAt([31, 66], score)),
    [0, 0, 0, 1, 1, 2, 2, 2],
  );
});

test("a border that is moved leaves every tier a score", () => {
  assert.deepEqual(limits([31, 66], 0), [1, 65]);
  assert.deepEqual(limits([31, 66], 1), [32, 100]);
  assert.deepEqual(withBorder([31, 66], 0, 90), [65, 66]);
  assert.deepEqual(withBorder([31, 66], 1, -3), [31, 32]);
  assert.deepEqual(withBorder([31, 66], 1, 70.4), [31, 70]);
});
