import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import type { Explained, ExplainRequest } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { Select } from "../../components/controls.tsx";
import { ErrorNote, Notice } from "../../components/status.tsx";
import { announce } from "../../lib/announce.ts";
import { ApiError } from "../../lib/api.ts";
import { APIS, type CallType, nameOfApi } from "../../lib/apis.ts";
import { useMe } from "../../lib/me.ts";
import { explainRequest, readTyped, type Typed } from "./request.ts";
import { StrategyCard } from "./strategy-card.tsx";
import { ask, useExplain } from "./use-explain.ts";

const EXAMPLES: readonly (readonly [name: string, text: string])[] = [
  ["Easy", "What is the capital of France?"],
  [
    "Middling",
    "Write a Python function that merges two sorted lists, with tests, and explain its complexity.",
  ],
  [
    "Hard",
    "Our service deadlocks under load. Find the root cause from the stack traces below, step by step, and design a fix:\n\n```\nThread-1: waiting for lock B, holds lock A\n  at Store.save(Store.java:41)\nThread-2: waiting for lock A, holds lock B\n  at Index.update(Index.java:97)\n```",
  ],
  [
    "A body",
    JSON.stringify(
      {
        model: "auto",
        messages: [
          { role: "system", content: "You are a careful reviewer." },
          { role: "user", content: "Prove that the square root of 2 is irrational." },
        ],
        tools: [
          { type: "function", function: { name: "search", parameters: { type: "object", properties: {} } } },
        ],
      },
      null,
      2,
    ),
  ],
];

/** A text or a body, and what each strategy makes of it while it is typed. Nothing is sent to a model or logged. */
export function TryOut() {
  const me = useMe();
  const id = useId();
  const [text, setText] = useState("");
  const [model, setModel] = useState("");
  const [format, setFormat] = useState<CallType | "">("");
  const typed = useMemo(() => readTyped(text), [text]);
  const request = useMemo(
    () => explainRequest(typed, model, format, ["static", "ml"]),
    [typed, model, format],
  );
  const { explained, error, isBusy } = useExplain(request);
  useSpoken(explained, isBusy);
  return (
    <>
      <Card
        title="Try a request"
        note="Scored as you type, by this gateway. The words stay in memory: nothing is logged, and no model is asked."
        wide
      >
        <label for={id}>A prompt, or the JSON body of a request</label>
        <textarea
          id={id}
          class="prompt"
          rows={7}
          value={text}
          spellcheck={false}
          aria-describedby={`${id}-read`}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <p class="note" id={`${id}-read`}>
          {readAs(typed)}
        </p>
        <div class="filters">
          <span class="field">
            <label for={`${id}-model`}>Model asked for</label>
            <input
              id={`${id}-model`}
              list={`${id}-models`}
              value={model}
              placeholder={typed.kind === "body" ? "as the body says" : "auto"}
              spellcheck={false}
              maxLength={256}
              onInput={(event) => setModel(event.currentTarget.value)}
            />
            <datalist id={`${id}-models`}>
              {["auto", ...me.models].map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </span>
          {typed.kind === "body" && (
            <Select
              label="API"
              choices={[["", `Guess: ${nameOfApi(typed.guessed)}`], ...APIS]}
              value={format}
              onChange={(value) => setFormat(value as CallType | "")}
            />
          )}
          <span class="examples">
            <span class="note">Examples:</span>
            {EXAMPLES.map(([name, example]) => (
              <button key={name} type="button" class="quiet" onClick={() => setText(example)}>
                {name}
              </button>
            ))}
          </span>
        </div>
      </Card>
      {error && error.status !== 401 && <ErrorNote error={error} />}
      {request === null ? (
        <Notice>Type something above, or take an example, to see its score, tier and model.</Notice>
      ) : (
        <div class="strategies" aria-busy={isBusy}>
          {explained.map((each) => (
            <StrategyCard key={each.strategy} explained={each} />
          ))}
          {me.strategies.includes("llm") && (
            <AskLocalModel request={explainRequest(typed, model, format, ["llm"])} />
          )}
        </div>
      )}
    </>
  );
}

/** The strategy llm, on a button: it asks a model. What it said of another request is taken away. */
function AskLocalModel(props: { request: ExplainRequest | null }) {
  const asked = JSON.stringify(props.request);
  const [answer, setAnswer] = useState<{ of: string; answer: Explained[] | ApiError } | null>(null);
  const [busyWith, setBusyWith] = useState<string | null>(null);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  const start = async () => {
    if (props.request === null) return;
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setBusyWith(asked);
    const said = await ask(props.request, abort.signal);
    if (said === null || abort.signal.aborted) return;
    setBusyWith(null);
    setAnswer({ of: asked, answer: said });
    announce("The local model has answered");
  };
  const shown = answer?.of === asked ? answer.answer : null;
  return (
    <div class="stack">
      <Card
        title="Ask the local model"
        note="The strategy llm asks a small model for one word; that may take seconds."
      >
        <button type="button" onClick={() => void start()} disabled={busyWith === asked}>
          {busyWith === asked ? "Asking …" : "Ask it"}
        </button>
      </Card>
      {shown instanceof ApiError ? (
        <ErrorNote error={shown} />
      ) : (
        shown?.map((each) => <StrategyCard key={each.strategy} explained={each} />)
      )}
    </div>
  );
}

/** Tells a screen reader the scores, once the typing has rested. */
function useSpoken(explained: readonly Explained[], isBusy: boolean): void {
  const text = explained
    .flatMap(({ strategy, decision }) =>
      decision?.complexity_score == null
        ? []
        : [`${strategy}: score ${decision.complexity_score}, ${decision.tier}`],
    )
    .join("; ");
  useEffect(() => {
    if (isBusy || !text) return;
    const timer = setTimeout(() => announce(text), 800);
    return () => clearTimeout(timer);
  }, [text, isBusy]);
}

function readAs(typed: Typed): string {
  if (typed.kind === "body") return `Read as a body for ${nameOfApi(typed.guessed)}.`;
  if (typed.kind === "empty")
    return "A JSON object is read as the body of a request, anything else as a user's words.";
  return typed.broken === null
    ? "Read as a user's words."
    : `Read as a user's words: it begins like a body, but is no JSON (${typed.broken}).`;
}
