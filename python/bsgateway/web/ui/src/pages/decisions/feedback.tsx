import { useId, useState } from "preact/hooks";
import type { DecisionDetail, FeedbackAnswer, FeedbackRequest, FeedbackView } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { type Choice, Segmented, Select } from "../../components/controls.tsx";
import { Moment } from "../../components/moment.tsx";
import { ErrorNote, Notice } from "../../components/status.tsx";
import { announce } from "../../lib/announce.ts";
import { ApiError, call } from "../../lib/api.ts";
import { percent } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";

const RATINGS: readonly Choice[] = [
  ["", "No rating"],
  ["0", "Useless"],
  ["0.25", "Poor"],
  ["0.5", "So-so"],
  ["0.75", "Good"],
  ["1", "Just right"],
];
const FATES: Record<FeedbackAnswer["comment"], string> = {
  none: "",
  kept: " The comment was kept as it is.",
  redacted: " Of the comment, keys and personal data were replaced by placeholders.",
  dropped: " The comment was dropped, as this gateway keeps no text.",
};
const MAX_COMMENT = 4000;

/** What was said about the answer, and a form to say more. */
export function FeedbackCard(props: { detail: DecisionDetail; zone: string; reload: () => void }) {
  const { feedback, row } = props.detail;
  return (
    <Card
      title="Feedback"
      note="Training learns from it: a rating of the answer, or the tier that would have been right."
    >
      {feedback.length === 0 ? (
        <p class="empty">Nobody has said anything yet.</p>
      ) : (
        <ul class="said">
          {feedback.map((each) => (
            <Said key={`${each.created_at} ${each.source}`} feedback={each} zone={props.zone} />
          ))}
        </ul>
      )}
      <FeedbackForm id={row.decision.decision_id} done={props.reload} />
    </Card>
  );
}

function Said(props: { feedback: FeedbackView; zone: string }) {
  const { created_at, source, rating, label, comment } = props.feedback;
  return (
    <li>
      <p>
        <Moment at={created_at} zone={props.zone} />, <code>{source}</code>:{" "}
        {[rating === null ? null : `rated ${percent(rating)}`, label === null ? null : `right tier: ${label}`]
          .filter(Boolean)
          .join(", ") || "a comment"}
      </p>
      {comment && <blockquote>{comment}</blockquote>}
    </li>
  );
}

function FeedbackForm(props: { id: string; done: () => void }) {
  const { tiers, text } = useMe();
  const id = useId();
  const [rating, setRating] = useState("");
  const [label, setLabel] = useState("");
  const [comment, setComment] = useState("");
  const [sending, setSending] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const [thanks, setThanks] = useState<string | null>(null);
  const isEmpty = rating === "" && label === "" && comment.trim() === "";

  const send = async (event: Event) => {
    event.preventDefault();
    if (isEmpty || sending) return;
    setSending(true);
    setError(null);
    setThanks(null);
    const body: FeedbackRequest = {
      decision_id: props.id,
      rating: rating === "" ? null : Number(rating),
      label: label || null,
      comment: comment.trim() || null,
    };
    try {
      const headers = { "x-bsgateway-source": "dashboard" };
      const answer = await call<FeedbackAnswer>("feedback", { method: "POST", body, headers });
      const words = `${answer.stored ? "Stored." : "Nothing was stored."}${FATES[answer.comment]}`;
      setThanks(words);
      announce(words);
      setRating("");
      setLabel("");
      setComment("");
      props.done();
    } catch (trouble) {
      if (!(trouble instanceof ApiError)) throw trouble;
      setError(trouble);
    } finally {
      setSending(false);
    }
  };

  return (
    <form class="feedback-form" onSubmit={(event) => void send(event)}>
      <h3>Say how good the answer was</h3>
      <Segmented label="Rating of the answer" choices={RATINGS} value={rating} onChange={setRating} />
      <Select
        label="Tier that would have been right"
        choices={[["", "Not said"], ...tiers.map(({ name }): Choice => [name, name])]}
        value={label}
        onChange={setLabel}
      />
      <label for={id}>Comment</label>
      <textarea
        id={id}
        rows={3}
        maxLength={MAX_COMMENT}
        value={comment}
        aria-describedby={`${id}-note`}
        onInput={(event) => setComment(event.currentTarget.value)}
      />
      <p class="note" id={`${id}-note`}>
        {COMMENT_NOTES[text]}
      </p>
      {error && <ErrorNote error={error} />}
      {thanks && <Notice>{thanks}</Notice>}
      <button type="submit" class="primary" disabled={isEmpty || sending}>
        {sending ? "Sending …" : "Send feedback"}
      </button>
    </form>
  );
}

const COMMENT_NOTES = {
  full: "Comments are kept as they are.",
  redacted: "Keys and personal data in a comment are replaced by placeholders before it is stored.",
  none: "This gateway keeps no text: comments are dropped, ratings and tiers are kept.",
};
