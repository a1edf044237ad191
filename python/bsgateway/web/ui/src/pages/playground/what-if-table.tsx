import type { WhatIf } from "../../api.d.ts";
import { TierTag } from "../../components/tier-tag.tsx";
import { count, money, percent } from "../../lib/format.ts";
import { type Applied, SCORES } from "../../whatif.ts";
import { costChange, shareChange } from "./change-text.ts";

/** Share and cost of each tier with the borders that are tried, and the difference to now. */
export function WhatIfTable(props: {
  whatIf: WhatIf;
  borders: readonly number[];
  now: Applied;
  then: Applied;
}) {
  const { whatIf, borders, now, then } = props;
  const requests = then.tiers.reduce((sum, tier) => sum + tier.requests, 0);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard
    <section class="table-scroll" aria-label="Shares and costs of the tiers" tabIndex={0}>
      <table>
        <caption class="visually-hidden">Shares and costs of the tiers, and the difference to now</caption>
        <thead>
          <tr>
            <th scope="col">Tier</th>
            {["Scores", "Requests", "Share", "± points", "Cost", "± cost"].map((name) => (
              <th key={name} scope="col" class="number">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {then.tiers.map((tier, at) => (
            <tr key={tier.tier}>
              <th scope="row">
                <TierTag tier={tier.tier} />
              </th>
              <td class="number">
                {borders[at - 1] ?? 0}–{(borders[at] ?? SCORES) - 1}
              </td>
              <td class="number">{count(tier.requests)}</td>
              <td class="number">{percent(tier.share)}</td>
              <td class="number">{shareChange(tier.share, now.tiers[at]?.share ?? 0)}</td>
              <td class="number">{money(tier.cost)}</td>
              <td class="number">{costChange(tier.cost, now.tiers[at]?.cost ?? null)}</td>
            </tr>
          ))}
          {whatIf.fixed_requests > 0 && (
            <tr>
              <th scope="row" colSpan={2}>
                Not moved by any of this
              </th>
              <td class="number">{count(whatIf.fixed_requests)}</td>
              <td />
              <td />
              <td class="number">{money(whatIf.fixed_cost)}</td>
              <td class="number">{costChange(0, 0)}</td>
            </tr>
          )}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" colSpan={2}>
              All
            </th>
            <td class="number">{count(requests + whatIf.fixed_requests)}</td>
            <td />
            <td />
            <td class="number">{money(withFixed(then, whatIf))}</td>
            <td class="number">{costChange(withFixed(then, whatIf), withFixed(now, whatIf))}</td>
          </tr>
        </tfoot>
      </table>
    </section>
  );
}

/** All that is spent, on requests that nothing here moves, too; null where it is not known. */
export function withFixed(applied: Applied, whatIf: WhatIf): number | null {
  return applied.cost === null ? null : applied.cost + whatIf.fixed_cost;
}
