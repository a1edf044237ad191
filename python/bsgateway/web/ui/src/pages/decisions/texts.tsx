import type { Texts } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { useMe } from "../../lib/me.ts";

/** The words of the request, as far as they are kept; else why not. */
export function TextsCard(props: { texts: Texts | null }) {
  const { text } = useMe();
  const { texts } = props;
  if (texts === null) {
    return (
      <Card title="Text">
        <p class="empty">{absent(text)}</p>
      </Card>
    );
  }
  return (
    <Card
      title="Text"
      note={
        texts.redacted
          ? "Keys and personal data were replaced by placeholders before it was stored."
          : "As it was sent."
      }
    >
      <Words title="Ask" text={texts.ask} />
      <Words title="System prompt" text={texts.system} />
    </Card>
  );
}

function Words(props: { title: string; text: string }) {
  if (!props.text) return <p class="note">No {props.title.toLowerCase()}.</p>;
  return (
    <>
      <h3>{props.title}</h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard */}
      <section class="words" aria-label={props.title} tabIndex={0}>
        <pre>{props.text}</pre>
      </section>
    </>
  );
}

function absent(setting: "full" | "redacted" | "none"): string {
  if (setting === "none") {
    return "Not kept: routing.collector.text is none. Scores, features and costs are all there is.";
  }
  return "None is kept of this request, or this key may not read it: the client may have asked for that, the text may be past routing.collector.text_retention_days, or it came while routing.collector.text was none.";
}
