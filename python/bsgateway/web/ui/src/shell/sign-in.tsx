import { useEffect, useId, useRef } from "preact/hooks";
import { session, signIn } from "../lib/session.ts";
import { useStore } from "../lib/store.ts";

/** Asks for the key that the API wants. */
export function SignIn() {
  const { refused } = useStore(session);
  const field = useRef<HTMLInputElement>(null);
  const [keyId, hintId, errorId] = [useId(), useId(), useId()];
  useEffect(() => {
    document.title = "Sign in · BSGateway";
    field.current?.focus();
  }, []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const key = field.current?.value.trim();
    if (key) signIn(key);
  };
  return (
    <main id="main" class="sign-in" tabIndex={-1}>
      <form onSubmit={submit} class="card">
        <h1>BSGateway</h1>
        <p>What was routed where, why, and what it saved.</p>
        {refused !== null && (
          <div class="notice bad" role="alert" id={errorId}>
            <p>
              <strong>This key was not accepted.</strong>
            </p>
            <p>{refused}</p>
          </div>
        )}
        <label for={keyId}>Key</label>
        <input
          id={keyId}
          ref={field}
          type="password"
          autocomplete="off"
          spellcheck={false}
          required
          placeholder="sk-…"
          aria-describedby={refused === null ? hintId : `${errorId} ${hintId}`}
        />
        <p class="note" id={hintId}>
          A key of this proxy: the one that clients send as <code>Authorization: Bearer</code>. The master key
          (<code>general_settings.master_key</code>, or the file <code>master_key</code> in the state
          directory) and keys of proxy admins see all requests; any other key sees its own. It stays in this
          browser tab until the tab is closed or the key forgotten.
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </main>
  );
}
