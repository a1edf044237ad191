import { useMe } from "../lib/me.ts";
import { Notice } from "./status.tsx";

/** What to do where no request was made in the period. */
export function NothingYet() {
  const me = useMe();
  if (me.log === "off") return null; // that is said above every page
  return (
    <Notice>
      <strong>{me.admin ? "No requests" : "No requests of this key"} in this period.</strong> Send one to this
      gateway, such as <code>POST /v1/chat/completions</code> for the model <code>auto</code>: it is here some
      seconds later. Or choose a longer period.
    </Notice>
  );
}
