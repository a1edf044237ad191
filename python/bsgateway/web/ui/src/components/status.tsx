import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { ApiError, Loaded } from "../lib/api.ts";

/** What went wrong and what to do. */
export function ErrorNote(props: { error: ApiError; retry?: () => void }) {
  const { error, remedy, field } = props.error.problem;
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{error}</strong>
        {field && (
          <>
            {" "}
            (in <code>{field}</code>)
          </>
        )}
      </p>
      {remedy && <p>{remedy}</p>}
      {props.retry && (
        <button type="button" onClick={props.retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Notice(props: { tone?: "plain" | "warn"; children: ComponentChildren }) {
  return <div class={`notice ${props.tone ?? "plain"}`}>{props.children}</div>;
}

/** Shows what was loaded; before that that it loads, and what went wrong above what is still there. */
export function Await<T>(props: { of: Loaded<T>; name: string; children: (data: T) => ComponentChildren }) {
  const { data, error, reload, isValidating } = props.of;
  return (
    <>
      {error && error.status !== 401 && <ErrorNote error={error} retry={reload} />}
      {data !== undefined ? (
        <div class="loaded" aria-busy={isValidating}>
          {props.children(data)}
        </div>
      ) : (
        !error && <p class="loading">Loading {props.name} …</p>
      )}
    </>
  );
}

/** A word that a longer text explains, to the mouse and to the keyboard. */
export function Explained(props: { text: string; doc: string | null | undefined }) {
  const id = useId();
  if (!props.doc) return <>{props.text}</>;
  return (
    <details class="explained">
      <summary aria-describedby={id} title={props.doc}>
        {props.text}
      </summary>
      <span id={id}>{props.doc}</span>
    </details>
  );
}
