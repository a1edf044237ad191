import { AllDecisions } from "./decisions/all.tsx";
import { OneDecision } from "./decisions/one.tsx";

/** The list, or the decision that the address names. */
export function Decisions(props: { params: { id?: string } }) {
  const { id } = props.params;
  return id === undefined ? <AllDecisions /> : <OneDecision key={id} id={id.toLowerCase()} />;
}
