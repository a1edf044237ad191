import { periodQuery, readPeriod } from "../../lib/period.ts";

/** The parameters of the page's address that narrow the list; the API knows them by the same names. */
export const FILTERS = [
  "tier",
  "method",
  "strategy",
  "reason",
  "model",
  "status",
  "fell_back",
  "applied",
  "key",
  "conversation",
  "call_id",
] as const;
export type FilterName = (typeof FILTERS)[number];

/** The filters that are set in an address. */
export function activeFilters(query: URLSearchParams): FilterName[] {
  return FILTERS.filter((name) => query.get(name));
}

/** What the API is asked for: the filters and the period of an address. */
export function listQuery(query: URLSearchParams): URLSearchParams {
  const asked = new URLSearchParams();
  for (const [name, value] of periodQuery(readPeriod(query))) if (name !== "tz") asked.set(name, value);
  for (const name of activeFilters(query)) asked.set(name, query.get(name) as string);
  return asked;
}

/** What somebody looks for: a decision, or all of a call of LiteLLM's. */
export type Search = { decision: string } | { call: string } | null;

const ID = /[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const HEADER = /^\s*["']?(x-[a-z-]+)["']?\s*[:=]\s*/i;

/**
 * Reads what was pasted: an id, or a whole line with the header that it came in. Decision ids are UUIDs of version 7;
 * LiteLLM's call ids are of version 4, or whatever a client sent.
 */
export function readSearch(text: string): Search {
  const header = HEADER.exec(text)?.[1]?.toLowerCase();
  const rest = text
    .replace(HEADER, "")
    .trim()
    .replace(/^["']|["',]+$/g, "");
  if (!rest) return null;
  const id = ID.exec(rest);
  const isWhole = id !== null && id[0].length === rest.length;
  if (header === "x-litellm-call-id") return { call: isWhole ? rest.toLowerCase() : rest };
  if (id && (isWhole || header === undefined || header === "x-bsgateway-decision-id")) {
    if (header === "x-bsgateway-decision-id" || id[1] === "7") return { decision: id[0].toLowerCase() };
    return { call: id[0] };
  }
  return { call: rest };
}
