import assert from "node:assert/strict";
import { test } from "node:test";
import { costChange, shareChange } from "../src/pages/playground/change-text.ts";
import { explainRequest, guessFormat, readTyped } from "../src/pages/playground/request.ts";

test("a JSON object is a body, anything else are words", () => {
  assert.equal(readTyped("  \n").kind, "empty");
  assert.deepEqual(readTyped("hello"), { kind: "prompt", prompt: "hello", broken: null });
  assert.deepEqual(readTyped("[1]"), { kind: "prompt", prompt: "[1]", broken: null });
  const broken = readTyped('{"messages": [');
  assert.ok(broken.kind === "prompt" && broken.broken);
  const body = readTyped('{"input": "x"}');
  assert.ok(body.kind === "body");
  assert.equal(body.guessed, "aresponses");
});

test("the endpoint is guessed by the keys that only one has", () => {
  assert.deepEqual(
    [{ contents: [] }, { input: "" }, { prompt: "" }, { system: "" }, { messages: [] }].map((body) =>
      guessFormat(body),
    ),
    ["agenerate_content", "aresponses", "atext_completion", "anthropic_messages", "acompletion"],
  );
});

test("the model that is asked for, of a prompt and of a body", () => {
  assert.equal(explainRequest({ kind: "empty" }, "", "", ["static"]), null);
  assert.deepEqual(explainRequest(readTyped("hi"), "", "", ["static"]), {
    prompt: "hi",
    strategies: ["static"],
  });
  assert.deepEqual(explainRequest(readTyped("hi"), " fast ", "", ["ml"]), {
    prompt: "hi",
    strategies: ["ml"],
    model: "fast",
  });
  const body = readTyped('{"model": "own", "messages": []}');
  assert.deepEqual(explainRequest(body, "", "", ["static"]), {
    body: { model: "own", messages: [] },
    call_type: "acompletion",
    model: "own",
    strategies: ["static"],
  });
  const other = explainRequest(body, "other", "anthropic_messages", ["static"]);
  assert.deepEqual(other?.body, { model: "other", messages: [] });
  assert.equal(other?.call_type, "anthropic_messages");
});

test("a change says its direction", () => {
  assert.equal(costChange(8, 10), "−$2.00 (−20.0%)");
  assert.equal(costChange(12, 10), "+$2.00 (+20.0%)");
  assert.equal(costChange(10, 10), "±0");
  assert.equal(costChange(1, 0), "+$1.00");
  assert.equal(costChange(null, 1), "–");
  assert.equal(shareChange(0.3, 0.25), "+5.0");
  assert.equal(shareChange(0.25, 0.3), "−5.0");
  assert.equal(shareChange(0.3, 0.3), "±0");
});
