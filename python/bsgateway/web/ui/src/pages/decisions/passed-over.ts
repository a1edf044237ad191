import type { CandidateView } from "../../api.d.ts";

/** Why a model was passed over, said of that model. */
const WHY: Record<string, string> = {
  context_window: "it cannot hold a request of this size",
  not_allowed: "the key, its team or its user may not use it",
  over_budget: "a budget or a rate limit for it was used up",
  cooling_down: "it had just failed, and was left alone for a while",
};

/** The reason in words, of a request with these needs. */
export function whyPassedOver(candidate: CandidateView, needs: readonly string[]): string {
  const { reason, doc } = candidate;
  if (reason === "needs" && needs.length > 0)
    return `it is not known to serve all that the request needs (${needs.join(", ").replaceAll("_", " ")})`;
  return (reason && WHY[reason]) || doc || reason || "no reason is kept";
}
