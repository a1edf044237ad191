import type { CandidateView } from "../../api.d.ts";
import { TierTag } from "../../components/tier-tag.tsx";
import { whyPassedOver } from "./passed-over.ts";

const FATES: Record<CandidateView["fate"], [sign: string, text: string]> = {
  chosen: ["✓", "chosen"],
  passed_over: ["✕", "passed over"],
  not_reached: ["–", "not needed"],
};

/** The models that could have served the request, and what became of each. */
export function Candidates(props: { candidates: readonly CandidateView[]; needs: readonly string[] }) {
  if (props.candidates.length === 0) {
    return <p class="empty">There was nothing to choose from: the name itself says the model.</p>;
  }
  return (
    <ul class="candidates">
      {props.candidates.map((candidate, at) => {
        const [sign, text] = FATES[candidate.fate];
        return (
          <li key={at} class={candidate.fate}>
            <span class="candidate-sign" aria-hidden="true">
              {sign}
            </span>
            <div>
              <p class="candidate-line">
                <code>{candidate.model}</code>
                {candidate.tier !== null && <TierTag tier={candidate.tier} />}
                <span class="badge">
                  {text}
                  {candidate.fate === "passed_over" && candidate.reason ? `: ${candidate.reason}` : ""}
                </span>
              </p>
              {candidate.fate === "passed_over" && (
                <p class="note">{whyPassedOver(candidate, props.needs)}</p>
              )}
            </div>
          </li>
        );
      })}
    </ul>
  );
}
