import { useState } from "preact/hooks";
import { Link, useRoute, useSearch } from "wouter-preact";
import type { Me } from "../api.d.ts";
import { Select, Toggle } from "../components/controls.tsx";
import { live } from "../lib/live.ts";
import { signOut } from "../lib/session.ts";
import { useStore } from "../lib/store.ts";
import { applyTheme, storedTheme, storeTheme, type Theme } from "../lib/theme.ts";
import { carried, withQuery } from "../lib/url-state.ts";
import { PAGES } from "../pages/index.ts";

/** Name, pages, who looks, and how the pages look. */
export function Header(props: { me: Me | null }) {
  const { me } = props;
  return (
    <header class="top">
      <div class="top-line">
        <Link href="/" class="brand" aria-label="BSGateway">
          <Mark />
          <span>BSGateway</span>
        </Link>
        {me && <Navigation />}
        <div class="top-tools">
          {me && <LiveToggle />}
          <ThemeChoice />
          {me && <Who me={me} />}
          <button type="button" class="quiet" onClick={() => signOut()}>
            Forget key
          </button>
        </div>
      </div>
    </header>
  );
}

function Navigation() {
  const kept = carried(new URLSearchParams(useSearch()));
  return (
    <nav aria-label="Pages">
      <ul>
        {PAGES.map((page) => (
          <li key={page.title}>
            <PageLink path={page.link} paths={page.paths} query={kept} title={page.title} />
          </li>
        ))}
      </ul>
    </nav>
  );
}

function PageLink(props: { path: string; paths: readonly string[]; query: URLSearchParams; title: string }) {
  const [exact] = useRoute(props.path);
  const [below] = useRoute(`${props.path}/*`);
  const [root] = useRoute("/");
  const here = exact || below || (root && props.paths.includes("/"));
  return (
    <Link href={withQuery(props.path, props.query)} aria-current={here ? "page" : undefined}>
      {props.title}
    </Link>
  );
}

function LiveToggle() {
  const isLive = useStore(live);
  return (
    <Toggle pressed={isLive} onChange={(on) => live.set(on)} title="Fetch new numbers every 10 seconds">
      <span class="dot" aria-hidden="true" />
      Live
    </Toggle>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState(storedTheme);
  const choose = (value: string) => {
    const chosen = value as Theme;
    storeTheme(chosen);
    applyTheme(chosen);
    setTheme(chosen);
  };
  return (
    <Select
      label="Theme"
      labelHidden
      choices={[
        ["system", "System theme"],
        ["light", "Light"],
        ["dark", "Dark"],
      ]}
      value={theme}
      onChange={choose}
    />
  );
}

function Who(props: { me: Me }) {
  const { admin, key } = props.me;
  return (
    <span class="who" title={admin ? "This key sees all requests" : "This key sees its own requests only"}>
      {key && <span class="who-name">{key}</span>}
      <span class="badge">{admin ? "admin" : "own requests"}</span>
    </span>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" class="mark" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path d="M6 16h6c5 0 4-8 9-8h5M12 16h14M12 16c5 0 4 8 9 8h5" />
    </svg>
  );
}
