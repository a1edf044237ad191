import type { ExplainRequest } from "../../api.d.ts";
import type { CallType } from "../../lib/apis.ts";

/** What was typed: words of a user, or the body of a request. `broken` says that it looks like JSON and is none. */
export type Typed =
  | { kind: "empty" }
  | { kind: "prompt"; prompt: string; broken: string | null }
  | { kind: "body"; body: Record<string, unknown>; guessed: CallType };

/** A JSON object is a body, as for `bsgateway explain`; all else are words. */
export function readTyped(text: string): Typed {
  if (!text.trim()) return { kind: "empty" };
  if (!/^\s*\{/.test(text)) return { kind: "prompt", prompt: text, broken: null };
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null && !Array.isArray(body)) {
      const found = body as Record<string, unknown>;
      return { kind: "body", body: found, guessed: guessFormat(found) };
    }
  } catch (error) {
    return { kind: "prompt", prompt: text, broken: error instanceof Error ? error.message : String(error) };
  }
  return { kind: "prompt", prompt: text, broken: null };
}

/** The endpoint that a body is for, by the keys that only one has: what `explain.guess_call_type` says. */
export function guessFormat(body: Record<string, unknown>): CallType {
  if ("contents" in body) return "agenerate_content";
  if ("input" in body) return "aresponses";
  if ("prompt" in body) return "atext_completion";
  return "system" in body ? "anthropic_messages" : "acompletion";
}

/** What api/explain is asked; null for nothing. `format` empty: as guessed. `model` empty: as the body says, or auto. */
export function explainRequest(
  typed: Typed,
  model: string,
  format: CallType | "",
  strategies: NonNullable<ExplainRequest["strategies"]>,
): ExplainRequest | null {
  if (typed.kind === "empty") return null;
  const named = model.trim();
  if (typed.kind === "prompt")
    return { prompt: typed.prompt, strategies, ...(named ? { model: named } : {}) };
  const own = typeof typed.body.model === "string" ? typed.body.model : "auto";
  return {
    body: named ? { ...typed.body, model: named } : typed.body,
    call_type: format || typed.guessed,
    model: named || own,
    strategies,
  };
}
