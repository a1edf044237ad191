import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelVersion } from "../src/api.d.ts";
import { curvesOf } from "../src/pages/learning/curves.ts";
import { intervalRange, placeOn, plainName, takesForce } from "../src/pages/learning/intervals.ts";

function version(id: string, state: ModelVersion["state"], curve: [number, number][]): ModelVersion {
  return {
    id,
    state,
    kind: "logistic",
    created: "",
    rows: 1,
    labels: {},
    held_out: [],
    better: null,
    curve,
    random_curve: [
      [0, 0],
      [1, 1],
    ],
  };
}

test("the model in force is drawn first, and files that tell no curve are left out", () => {
  const line: [number, number][] = [
    [0, 0.2],
    [1, 0.9],
  ];
  const curves = curvesOf([
    version("older", "older", line),
    version("mute", "candidate", []),
    version("now", "in_force", line),
  ]);
  assert.deepEqual(
    curves.lines.map(({ name }) => name),
    ["now (in force)", "older (older)"],
  );
  assert.equal(curves.random.length, 2);
  assert.deepEqual(curvesOf([]), { lines: [], random: [] });
});

test("scores share a scale of 0 to 1, differences one around 0", () => {
  const held = [
    { name: "apgr", value: 0.7, low: 0.6, high: 0.8 },
    { name: "difference", value: 0.06, low: -0.02, high: 0.1 },
  ];
  assert.deepEqual(intervalRange(held, "apgr"), [0, 1]);
  assert.deepEqual(intervalRange(held, "difference"), [-0.1, 0.1]);
  assert.equal(placeOn([-0.1, 0.1], 0), 0.5);
});

test("only what one can always go back to, or what was certain to be better, takes no force", () => {
  assert.equal(takesForce({ state: "candidate", better: true }), false);
  assert.equal(takesForce({ state: "candidate", better: false }), true);
  assert.equal(takesForce({ state: "older", better: null }), true);
  assert.equal(takesForce({ state: "previous", better: null }), false);
  assert.equal(takesForce({ state: "prior", better: null }), false);
});

test("names of ours are words, names of files and models stay", () => {
  assert.equal(plainName("dual_run"), "dual run");
  assert.equal(plainName("mmlu_pro.jsonl.gz: a over b_c"), "mmlu_pro.jsonl.gz: a over b_c");
});
