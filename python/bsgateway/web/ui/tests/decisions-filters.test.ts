import assert from "node:assert/strict";
import { test } from "node:test";
import { activeFilters, listQuery, readSearch } from "../src/pages/decisions/filters.ts";

const DECISION = "01890a5d-ac96-774b-bcce-b302099a8057";
const CALL = "0f8fad5b-d9cb-469f-a165-70867728950e";

test("the API is asked for the filters and the period, and for nothing else of the address", () => {
  const query = new URLSearchParams("tier=medium&since=7d&by=model&tz=Europe%2FBerlin&status=");
  assert.deepEqual(activeFilters(query), ["tier"]);
  assert.equal(listQuery(query).toString(), "since=7d&tier=medium");
});

test("days of an address are asked for as moments", () => {
  const asked = listQuery(new URLSearchParams("since=2026-03-01&until=2026-03-02&tz=UTC"));
  assert.equal(asked.get("since"), "2026-03-01T00:00:00Z");
  assert.equal(asked.get("until"), "2026-03-03T00:00:00Z");
});

test("an id is found however it is pasted", () => {
  for (const text of [
    DECISION,
    `  ${DECISION.toUpperCase()}\n`,
    `x-bsgateway-decision-id: ${DECISION}`,
    `"x-bsgateway-decision-id": "${DECISION}",`,
    `https://gateway/bsgateway/decisions/${DECISION}?tier=simple`,
  ]) {
    assert.deepEqual(readSearch(text), { decision: DECISION }, text);
  }
});

test("what is no decision's id is a call's", () => {
  assert.deepEqual(readSearch(CALL), { call: CALL });
  assert.deepEqual(readSearch("chatcmpl-abc"), { call: "chatcmpl-abc" });
  assert.deepEqual(readSearch(`x-litellm-call-id: ${DECISION}`), { call: DECISION });
  assert.equal(readSearch("  "), null);
  assert.equal(readSearch("x-bsgateway-decision-id: "), null);
});
