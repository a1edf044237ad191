import assert from "node:assert/strict";
import { test } from "node:test";
import { outcomeText, servedBy } from "../src/pages/decisions/outcome-text.ts";
import { plainText, story } from "../src/pages/decisions/story.ts";
import { inOrder, moveOf } from "../src/pages/decisions/turn-order.ts";
import { decision, decisionId, detail, outcome, row, TIERS } from "./made.ts";

const told = (...args: Parameters<typeof detail>) => story(detail(...args), TIERS).map(plainText);

test("a request that was routed by score", () => {
  assert.deepEqual(told(), [
    "Asked for auto, which is routed by score.",
    "Scored 41 of 100 by the strategy static, which is in the range of medium today (31–65).",
    "Tier medium, model middling: the tier of the score.",
    "middling answered in 1.2 s for $0.02; large would have cost $0.50 for the same tokens.",
  ]);
});

test("a candidate that was passed over, and a fallback of LiteLLM", () => {
  const lines = told({
    candidates: [
      {
        model: "other",
        tier: "medium",
        fate: "passed_over",
        reason: "cooling_down",
        doc: "it has just failed",
      },
      { model: "middling", tier: "medium", fate: "chosen", reason: null, doc: null },
    ],
    row: { decision: decision(), outcome: outcome({ served_group: "large" }) },
  });
  assert.ok(lines.includes("other was passed over: it had just failed, and was left alone for a while."));
  assert.ok(lines.includes("middling failed, so LiteLLM fell back: large answered in 1.2 s for $0.02."));
});

test("a name that is served as asked", () => {
  const served = decision({
    method: "passthrough",
    reason: "model_list",
    original_model: "large",
    resolved_model: "large",
    tier: null,
    complexity_score: null,
    raw_score: null,
    strategy: null,
  });
  const lines = told({
    row: { decision: served, outcome: null },
    reason_doc: "the name stands in model_list",
  });
  assert.deepEqual(lines, [
    "Asked for large, which is served as asked.",
    "Model large: the name stands in model_list.",
    "No outcome is known: the model is still at work, or its answer never came.",
  ]);
});

test("a bias, a verdict and a failure", () => {
  const lines = told({
    row: {
      decision: decision({
        bias: -15,
        raw_score: 56,
        strategy: "llm",
        llm_status: "asked",
        llm_tier: "medium",
        llm_confidence: 0.8,
        llm_model: "tiny",
      }),
      outcome: outcome({ status: "failure", error_class: "RateLimitError", error_status: 429 }),
    },
  });
  assert.equal(lines[1]?.startsWith("Scored 41 of 100 by the local LLM's word (56 and a bias of −15)"), true);
  assert.equal(lines[2], "The local LLM tiny said medium, with a confidence of 80.0%.");
  assert.equal(lines.at(-1), "middling failed: RateLimitError (status 429).");
});

test("nothing was rewritten", () => {
  const lines = told({
    row: { decision: decision({ applied: false }), outcome: outcome({ served_group: null }) },
  });
  assert.ok(
    lines.includes(
      "Nothing was rewritten: the request went on for auto, and this is what would have happened.",
    ),
  );
  assert.ok(lines.at(-1)?.startsWith("auto answered"));
});

test("what came of a request, in a word", () => {
  assert.equal(outcomeText(row(1)).text, "no answer yet");
  assert.equal(outcomeText(row(1, {}, outcome())).note, null);
  assert.equal(outcomeText(row(1, {}, outcome({ served_group: "large" }))).note, "fell back");
  assert.equal(outcomeText(row(1, { applied: false }, outcome({ served_group: "large" }))).note, null);
  assert.equal(
    outcomeText(row(1, {}, outcome({ status: "failure", error_class: "Timeout", error_status: null }))).note,
    "Timeout",
  );
  assert.equal(servedBy(row(1, { applied: false })), "auto");
});

test("turns are in the order of their ids, and say where the conversation went", () => {
  const turns = [row(3, { tier: "complex" }), row(2)].map((turn) => turn);
  const found = inOrder(detail({ turns }));
  assert.deepEqual(
    found.map((turn) => turn.decision.decision_id),
    [1, 2, 3].map(decisionId),
  );
  assert.equal(moveOf(row(2), row(1), TIERS)?.text, "stayed");
  assert.equal(moveOf(row(2, { tier: "complex" }), row(1), TIERS)?.text, "up");
  assert.equal(moveOf(row(2, { tier: "simple" }), row(1), TIERS)?.text, "down");
  assert.equal(moveOf(row(2, { tier: "gone" }), row(1), TIERS)?.text, "changed");
  assert.equal(moveOf(row(2), undefined, TIERS), null);
});

test("a candidate that does not serve what the request needs", () => {
  const lines = told({
    candidates: [{ model: "other", tier: "simple", fate: "passed_over", reason: "needs", doc: "words" }],
    row: { decision: decision({ needs: ["vision", "json_schema"] }), outcome: outcome() },
  });
  assert.ok(
    lines.includes(
      "other was passed over: it is not known to serve all that the request needs (vision, json schema).",
    ),
  );
});
