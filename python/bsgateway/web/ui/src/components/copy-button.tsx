import { useEffect, useState } from "preact/hooks";
import { announce } from "../lib/announce.ts";

/** Puts a text on the clipboard, and says whether that worked. */
export function CopyButton(props: { text: () => string; what: string }) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), 2500);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = async () => {
    const isCopied = await toClipboard(props.text());
    setState(isCopied ? "copied" : "failed");
    announce(isCopied ? `${props.what} copied` : `${props.what} could not be copied: the browser forbids it`);
  };
  return (
    <button type="button" onClick={copy}>
      {state === "idle" ? "Copy" : state === "copied" ? "Copied" : "Not copied"}
      <span class="visually-hidden"> {props.what}</span>
    </button>
  );
}

/** The clipboard API is there on https and localhost only; elsewhere the old way still works. */
async function toClipboard(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("readonly", "");
  area.className = "visually-hidden";
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}
