import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, withNewest, withOlder } from "../src/pages/decisions/merge.ts";
import { decisionId, outcome, row } from "./made.ts";

const rows = (...numbers: number[]) => numbers.map((number) => row(number));
const ids = (list: { decision: { decision_id: string } }[]) =>
  list.map((each) => Number(each.decision.decision_id.slice(-4)));

test("new rows stand above, and rows that are shown get their outcome", () => {
  const list = withNewest(EMPTY, rows(3, 2, 1), null, false);
  const answered = row(3, {}, outcome());
  const next = withNewest(list, [row(4), answered, ...rows(2, 1)], null, false);
  assert.deepEqual(ids(next.rows), [4, 3, 2, 1]);
  assert.equal(next.rows[1], answered);
});

test("new rows wait for somebody who reads, and come in at a word", () => {
  const list = withNewest(EMPTY, rows(3, 2), decisionId(2), false);
  const held = withNewest(list, rows(5, 4, 3), decisionId(3), true);
  assert.deepEqual(ids(held.rows), [3, 2]);
  assert.deepEqual(ids(held.waiting), [5, 4]);
  const shown = withNewest(held, rows(5, 4, 3), decisionId(3), false);
  assert.deepEqual(ids(shown.rows), [5, 4, 3, 2]);
  assert.deepEqual(shown.waiting, []);
  assert.equal(shown.before, decisionId(2), "what is older goes on from where the list ends");
});

test("a page that does not reach the list takes its place: no hole stays unseen", () => {
  const list = withNewest(EMPTY, rows(3, 2, 1), null, false);
  const next = withNewest(list, rows(9, 8, 7), decisionId(7), false);
  assert.deepEqual(ids(next.rows), [9, 8, 7]);
  assert.equal(next.before, decisionId(7));
});

test("older rows stand below, each once", () => {
  const list = withNewest(EMPTY, rows(5, 4), decisionId(4), false);
  const longer = withOlder(list, rows(4, 3, 2), null);
  assert.deepEqual(ids(longer.rows), [5, 4, 3, 2]);
  assert.equal(longer.before, null);
});
