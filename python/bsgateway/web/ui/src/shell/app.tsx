import { useMemo } from "preact/hooks";
import { SWRConfig } from "swr";
import { Route, Router, Switch } from "wouter-preact";
import type { Me } from "../api.d.ts";
import { ErrorNote } from "../components/status.tsx";
import { useApi } from "../lib/api.ts";
import { basePath } from "../lib/base.ts";
import { MeContext } from "../lib/me.ts";
import { session } from "../lib/session.ts";
import { useStore } from "../lib/store.ts";
import { PAGES } from "../pages/index.ts";
import { Announcer } from "./announcer.tsx";
import { Footer } from "./footer.tsx";
import { Header } from "./header.tsx";
import { NotFound } from "./not-found.tsx";
import { ModeNotices } from "./notices.tsx";
import { SignIn } from "./sign-in.tsx";

/** The whole dashboard: a form that asks for a key, then the pages. */
export function App() {
  const { key } = useStore(session);
  const base = useMemo(() => basePath(document.baseURI), []);
  return (
    <Router base={base}>
      <SkipLink />
      {key === null ? <SignIn /> : <SignedIn key={key} />}
      <Announcer />
    </Router>
  );
}

function SignedIn() {
  // A store of its own: what one key was answered is gone when another comes.
  const config = useMemo(() => ({ provider: () => new Map() }), []);
  return (
    <SWRConfig value={config}>
      <Shell />
    </SWRConfig>
  );
}

function Shell() {
  const { data: me, error, reload } = useApi<Me>("api/me", "Dashboard");
  if (!me) {
    return (
      <>
        <Header me={null} />
        <main id="main" tabIndex={-1}>
          {error ? (
            error.status !== 401 && <ErrorNote error={error} retry={reload} />
          ) : (
            <p class="loading">Loading …</p>
          )}
        </main>
      </>
    );
  }
  return (
    <MeContext.Provider value={me}>
      <Header me={me} />
      <main id="main" tabIndex={-1}>
        <ModeNotices me={me} />
        <Switch>
          {PAGES.flatMap((page) =>
            page.paths.map((path) => <Route key={path} path={path} component={page.component} />),
          )}
          <Route component={NotFound} />
        </Switch>
      </main>
      <Footer me={me} />
    </MeContext.Provider>
  );
}

function SkipLink() {
  // Not by its address: the pages' <base> would lead away from the page that is shown.
  return (
    // biome-ignore lint/a11y/useValidAnchor: it is a link to a part of this page
    <a
      class="skip"
      href="#main"
      onClick={(event) => {
        event.preventDefault();
        document.getElementById("main")?.focus();
      }}
    >
      Skip to the content
    </a>
  );
}
