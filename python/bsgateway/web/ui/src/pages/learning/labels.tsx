import type { LabelCount, LearningView } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { type Column, DataTable } from "../../components/data-table.tsx";
import { count, decimal } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";
import { words } from "../decisions/steps.ts";

const COLUMNS: readonly Column<LabelCount>[] = [
  { name: "Source", value: ({ source }) => words(source) },
  { name: "What it says", value: ({ doc }) => doc },
  { name: "Labels", numeric: true, value: ({ labels }) => labels, cell: ({ labels }) => count(labels) },
  {
    name: "Weight",
    numeric: true,
    hint: "What training makes of each: 1 counts in full",
    value: ({ weight }) => weight,
    cell: ({ weight }) => decimal(weight),
  },
  {
    name: "Labels × weight",
    numeric: true,
    hint: "What all labels of the source weigh together, at most",
    value: ({ labels, weight }) => labels * weight,
    cell: ({ labels, weight }) => decimal(labels * weight, 1),
  },
];

/** How many labels the log holds, by their source; and where more come from. */
export function LabelsCard(props: { view: LearningView }) {
  const { labels, days } = props.view;
  const { log } = useMe();
  const found = labels.reduce((sum, each) => sum + each.labels, 0);
  return (
    <Card
      title="Labels"
      note={`What the requests of the last ${decimal(days, 0)} days say about good and bad answers.`}
    >
      {labels.length > 0 && (
        <DataTable
          caption="Labels by source"
          columns={COLUMNS}
          rows={labels}
          rowKey={({ source }) => source}
        />
      )}
      {found < FEW && <More isEmpty={found === 0} hasLog={log !== "off"} />}
    </Card>
  );
}

/** Below it the page says where labels come from; docs/training.md: some hundreds are enough to begin with. */
const FEW = 300;

function More(props: { isEmpty: boolean; hasLog: boolean }) {
  if (!props.hasLog) {
    return (
      <p class="empty">
        There is no log, so there is nothing to learn from. Switch it on:{" "}
        <code>routing.collector.enabled: true</code>.
      </p>
    );
  }
  return (
    <div class="next-steps">
      <p>{props.isEmpty ? "There are no labels yet. " : "There are few labels yet. "}This brings more:</p>
      <ul class="plain-list">
        <li>
          <code>routing.learning.dual_run: 2%</code> answers that share of requests a second time with another
          tier and compares the answers; <code>dual_run_usd_per_day</code> limits what it costs.
        </li>
        <li>
          <code>routing.learning.explore: 1%</code> sends that share to a tier drawn at random, so that other
          borders and models can be judged from the log.
        </li>
        <li>
          Feedback: clients send it to <code>POST /bsgateway/feedback</code>, and the page of a decision has a
          form.
        </li>
        <li>
          <code>routing.collector.text: redacted</code> keeps the asks: without them, requests that were asked
          again are not found.
        </li>
      </ul>
    </div>
  );
}
