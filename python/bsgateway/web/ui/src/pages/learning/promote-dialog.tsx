import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ModelVersion, Promoted, PromoteRequest } from "../../api.d.ts";
import { ErrorNote } from "../../components/status.tsx";
import { announce } from "../../lib/announce.ts";
import { ApiError, post } from "../../lib/api.ts";
import { takesForce } from "./intervals.ts";

/**
 * Says what will happen, and does it. The browser's own dialog: it keeps the focus within, Escape closes it, and the
 * focus returns to the button that opened it.
 */
export function PromoteDialog(props: {
  version: ModelVersion;
  current: ModelVersion | undefined;
  strategy: string;
  scores: boolean;
  close: () => void;
  done: (promoted: Promoted) => void;
}) {
  const { version, current, close } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [forced, setForced] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const needsForce = takesForce(version) || error?.status === 409;
  // Before the next key: it would move the focus away from the opener, which is to get it back.
  useLayoutEffect(() => {
    const opener = document.activeElement;
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);

  const promote = async () => {
    setBusy(true);
    setError(null);
    try {
      const body: PromoteRequest = { id: version.id, force: forced };
      const promoted = await post<Promoted>("api/learning/promote", body);
      announce(`Model ${promoted.id} is in force now`);
      props.done(promoted);
    } catch (trouble) {
      if (!(trouble instanceof ApiError)) throw trouble;
      setError(trouble);
      setBusy(false);
    }
  };

  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={id} onClose={close}>
      <h2 id={id}>
        {version.state === "previous" ? "Roll back to" : "Put in force"} <code>{version.id}</code>?
      </h2>
      <p>
        It takes the place of {current ? <code>{current.id}</code> : "no model"}, in all workers, within
        seconds and without a restart.{" "}
        {current && current.kind !== "prior" && "What is replaced is kept: rolling back brings it back."}
      </p>
      <p>
        {props.scores
          ? "New requests are scored by it at once. Conversations keep their tier until their rules say otherwise, and what is in the log stays as it is."
          : `Nothing changes for requests yet: the strategy in force is ${props.strategy}, which uses no learned model.`}
      </p>
      {needsForce && (
        <div class="notice warn">
          <p>
            <strong>It was not certain to be better than what ran when it was trained.</strong> It may send
            hard requests to cheap models, or easy ones to dear models. Train with more labels, or compare its
            held-out scores first.
          </p>
          <label class="check">
            <input
              type="checkbox"
              checked={forced}
              onChange={(event) => setForced(event.currentTarget.checked)}
            />
            Put it in force all the same
          </label>
        </div>
      )}
      {error && <ErrorNote error={error} />}
      <div class="dialog-actions">
        <button type="button" onClick={close} disabled={busy}>
          Cancel
        </button>
        <button
          type="button"
          class="primary"
          onClick={() => void promote()}
          disabled={busy || (needsForce && !forced)}
          aria-busy={busy}
        >
          {busy ? "Working …" : version.state === "previous" ? "Roll back" : "Put in force"}
        </button>
      </div>
    </dialog>
  );
}
