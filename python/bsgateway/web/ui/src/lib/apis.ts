/** LiteLLM's word for the API of a request, where the gateway routes it. */
export type CallType =
  | "acompletion"
  | "anthropic_messages"
  | "aresponses"
  | "atext_completion"
  | "agenerate_content";

export const APIS: readonly (readonly [CallType, string])[] = [
  ["acompletion", "Chat completions"],
  ["anthropic_messages", "Anthropic messages"],
  ["aresponses", "Responses"],
  ["atext_completion", "Completions"],
  ["agenerate_content", "Gemini generateContent"],
];

/** The API of a call type, also of its synchronous and streamed kinds; one that is not known is its own name. */
export function nameOfApi(callType: string): string {
  const word = callType.replace(/_stream$/, "");
  return APIS.find(([known]) => known === word || known === `a${word}`)?.[1] ?? callType;
}
