import { Link } from "wouter-preact";
import type { DecisionDetail } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { CopyButton } from "../../components/copy-button.tsx";
import { Moment } from "../../components/moment.tsx";
import { usePeriod } from "../../components/period-bar.tsx";
import { ScoreScale } from "../../components/score-scale.tsx";
import { ScoreSteps } from "../../components/score-steps.tsx";
import { Await } from "../../components/status.tsx";
import { useApi } from "../../lib/api.ts";
import { useMe } from "../../lib/me.ts";
import { useQuery, withQuery } from "../../lib/url-state.ts";
import { PageTitle } from "../../shell/page-title.tsx";
import { Candidates } from "./candidates.tsx";
import { ComparisonCard } from "./comparison.tsx";
import { FeedbackCard } from "./feedback.tsx";
import { OutcomeFacts, RequestFacts } from "./row-facts.tsx";
import { plainText, type Sentence, story } from "./story.ts";
import { TextsCard } from "./texts.tsx";
import { Turns } from "./turns.tsx";

/** One decision and its whole why. */
export function OneDecision(props: { id: string }) {
  const { id } = props;
  const [query] = useQuery();
  const { zone } = usePeriod();
  const loaded = useApi<DecisionDetail>(`api/decisions/${encodeURIComponent(id)}`, "decision", {
    live: false,
  });
  // What is still there of another decision is not this one's.
  const mine = loaded.data?.row.decision.decision_id === id ? loaded.data : undefined;
  return (
    <>
      <PageTitle title="Decision">
        <Link href={withQuery("/decisions", query)}>← All decisions</Link>
      </PageTitle>
      <p class="decision-id">
        <code>{id}</code> <CopyButton text={() => id} what="Decision id" />
        {mine && (
          <span class="note">
            <Moment at={mine.row.decision.created_at} zone={zone} /> ({zone})
          </span>
        )}
      </p>
      <Await of={{ ...loaded, data: mine }} name="decision">
        {(detail) => <Detail key={id} detail={detail} zone={zone} reload={loaded.reload} />}
      </Await>
    </>
  );
}

function Detail(props: { detail: DecisionDetail; zone: string; reload: () => void }) {
  const { detail, zone } = props;
  const { decision } = detail.row;
  const { tiers } = useMe();
  return (
    <>
      <Card title="What happened" wide>
        <Story sentences={story(detail, tiers)} />
        {decision.complexity_score !== null && <ScoreScale score={decision.complexity_score} tiers={tiers} />}
      </Card>
      <div class="columns">
        <div class="stack">
          <Card
            title="What makes the score"
            note="Each signal goes on where the one before it ends; together they are the score."
          >
            <ScoreSteps decision={decision} caption="Signals and the points that they add" />
          </Card>
          <Card
            title="Candidates"
            note="Those that were passed over, in their order, and the one that was chosen."
          >
            <Candidates candidates={detail.candidates} needs={detail.row.decision.needs} />
          </Card>
          <Turns detail={detail} zone={zone} />
          <TextsCard texts={detail.texts} />
        </div>
        <div class="stack">
          <Card title="Outcome">
            <OutcomeFacts row={detail.row} zone={zone} />
          </Card>
          {detail.comparison && <ComparisonCard comparison={detail.comparison} />}
          <Card title="Request">
            <RequestFacts detail={detail} />
          </Card>
          <FeedbackCard detail={detail} zone={zone} reload={props.reload} />
        </div>
      </div>
      <Card title="Raw" wide actions={<CopyButton text={() => raw(detail)} what="JSON" />}>
        <details>
          <summary>Show as JSON</summary>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard */}
          <pre class="raw" tabIndex={0}>
            {raw(detail)}
          </pre>
        </details>
      </Card>
    </>
  );
}

function Story(props: { sentences: readonly Sentence[] }) {
  return (
    <ol class="story">
      {props.sentences.map((sentence) => (
        <li key={plainText(sentence)}>
          {sentence.map((piece) => (typeof piece === "string" ? piece : <code>{piece.name}</code>))}
        </li>
      ))}
    </ol>
  );
}

function raw(detail: DecisionDetail): string {
  return JSON.stringify(detail, null, 2);
}
