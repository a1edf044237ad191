import { PageTitle } from "../shell/page-title.tsx";
import { TryOut } from "./playground/try-out.tsx";
import { WhatIfCard } from "./playground/what-if-card.tsx";

/** Trying things out before they are in force. */
export function Playground() {
  return (
    <>
      <PageTitle
        title="Playground"
        lead="See how a request would be routed, and what other borders between the tiers would have cost."
      />
      <div class="stack">
        <TryOut />
        <WhatIfCard />
      </div>
    </>
  );
}
