import assert from "node:assert/strict";
import { test } from "node:test";
import { scoreSteps, stepsRange } from "../src/pages/decisions/steps.ts";
import { decision } from "./made.ts";

test("steps go on from one another and end at the score", () => {
  const steps = scoreSteps(
    decision({
      raw_score: 35,
      bias: -10,
      complexity_score: 25,
      contributions: [
        { signal: "token_count", value: 8, weight: 0.2, points: 1.6 },
        { signal: "keyword_patterns", value: 50, weight: 0.4, points: 20 },
        { signal: "floor:keywords", value: 35, weight: 0, points: 13.4 },
      ],
    }),
  );
  assert.deepEqual(
    steps.map(({ name }) => name),
    ["token count", "keyword patterns", "floor: keywords", "bias"],
  );
  steps.forEach((step, at) => {
    assert.equal(step.from, steps[at - 1]?.to ?? 0);
  });
  assert.ok(Math.abs((steps.at(-1)?.to ?? 0) - 25) < 1e-9);
  assert.equal(steps[2]?.weight, undefined, "a floor has no weight");
});

test("what the contributions leave open is a step of its own", () => {
  const steps = scoreSteps(
    decision({ raw_score: 40, contributions: [{ signal: "base", value: 0, weight: 1, points: 30 }] }),
  );
  assert.deepEqual(
    steps.map(({ name, points }) => [name, points]),
    [
      ["base", 30],
      ["not told apart", 10],
    ],
  );
});

test("a score without contributions has steps only where there is a bias", () => {
  assert.deepEqual(scoreSteps(decision({ bias: 0 })), []);
  assert.deepEqual(
    scoreSteps(decision({ bias: 5, raw_score: 36 })).map(({ name, to }) => [name, to]),
    [
      ["raw score", 36],
      ["bias", 41],
    ],
  );
});

test("values and weights of a learned model are not shown: they are in units of its own", () => {
  const [step] = scoreSteps(
    decision({
      strategy: "ml",
      raw_score: 40,
      contributions: [{ signal: "words", value: 0.2, weight: 234, points: 40 }],
    }),
  );
  assert.equal(step?.points, 40);
  assert.equal(step?.value, undefined);
  assert.equal(step?.weight, undefined);
});

test("the scale holds what goes beyond 0-100", () => {
  const steps = scoreSteps(
    decision({
      raw_score: 90,
      contributions: [
        { signal: "a", value: 0, weight: 1, points: -20 },
        { signal: "b", value: 0, weight: 1, points: 130 },
        { signal: "c", value: 0, weight: 1, points: -20 },
      ],
    }),
  );
  assert.deepEqual(stepsRange(steps), [-20, 110]);
  assert.deepEqual(stepsRange([]), [0, 100]);
});
