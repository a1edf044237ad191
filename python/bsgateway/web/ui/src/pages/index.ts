import type { FunctionComponent } from "preact";
import { Decisions } from "./decisions.tsx";
import { Learning } from "./learning.tsx";
import { Playground } from "./playground.tsx";
import { Savings } from "./savings.tsx";
import { Traffic } from "./traffic.tsx";

export interface Page {
  title: string;
  /** Where its link leads. */
  link: string;
  /** Routes of wouter that show it, relative to the base. */
  paths: readonly string[];
  // biome-ignore lint/suspicious/noExplicitAny: wouter hands each page the parameters of its own path
  component: FunctionComponent<any>;
}

/** The pages in the order of their links. A page whose address has an id goes before this list's shorter one. */
export const PAGES: readonly Page[] = [
  { title: "Savings", link: "/savings", paths: ["/", "/savings"], component: Savings },
  { title: "Traffic", link: "/traffic", paths: ["/traffic"], component: Traffic },
  { title: "Decisions", link: "/decisions", paths: ["/decisions", "/decisions/:id"], component: Decisions },
  { title: "Playground", link: "/playground", paths: ["/playground"], component: Playground },
  { title: "Learning", link: "/learning", paths: ["/learning"], component: Learning },
];
