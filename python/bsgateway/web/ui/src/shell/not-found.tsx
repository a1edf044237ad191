import { Link } from "wouter-preact";
import { PageTitle } from "./page-title.tsx";

export function NotFound() {
  return (
    <>
      <PageTitle title="No such page" />
      <p>
        There is no page at this address. <Link href="/savings">See the savings</Link>.
      </p>
    </>
  );
}
