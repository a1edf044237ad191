// Bundles the pages into ../assets (or the directory that is named): everything a browser needs, with no other origin.
// Names carry a hash of the content, so that a browser may keep them for ever; report.js and report.css go into
// one-file reports and keep theirs.

import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "..", "assets"));

const common = {
  absWorkingDir: here,
  outdir: target,
  bundle: true,
  minify: true,
  metafile: true,
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  alias: { react: "preact/compat", "react-dom": "preact/compat" },
  define: { "process.env.NODE_ENV": '"production"' },
  legalComments: "none", // LICENSES.txt has them in full
  logLevel: "warning",
};

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });

const pages = await build({
  ...common,
  entryPoints: { app: "src/main.tsx" },
  format: "esm",
  splitting: true,
  entryNames: "[name]-[hash]",
  chunkNames: "chunk-[hash]",
});
const theme = await build({
  ...common,
  entryPoints: { theme: "src/theme-first.ts" },
  format: "iife",
  entryNames: "[name]-[hash]",
});
const report = await build({ ...common, entryPoints: { report: "src/report.ts" }, format: "iife" });

const outputs = [pages, theme, report].flatMap(({ metafile }) => Object.entries(metafile.outputs));

/** The built file that stands for an entry point; `css` for the styles that it imports. */
function built(entry, kind = "js") {
  const output = outputs.find(([, { entryPoint }]) => entryPoint === entry);
  const path = kind === "css" ? output?.[1].cssBundle : output?.[0];
  if (!path) throw new Error(`${entry}: no ${kind} was built`);
  return `assets/${basename(path)}`;
}

let html = await readFile(join(here, "src", "index.html"), "utf8");
for (const [mark, path] of [
  ["%APP_JS%", built("src/main.tsx")],
  ["%APP_CSS%", built("src/main.tsx", "css")],
  ["%THEME_JS%", built("src/theme-first.ts")],
]) {
  if (!html.includes(mark)) throw new Error(`src/index.html: ${mark} is missing`);
  html = html.replaceAll(mark, path);
}
await writeFile(join(target, "icon.svg"), await readFile(join(here, "src", "icon.svg")));
await writeFile(join(target, "LICENSES.txt"), await licences());

// Last: make takes it for the sign that all is there.
await writeFile(join(target, "index.html"), html);

const bytes = outputs.reduce((sum, [, output]) => sum + output.bytes, 0);
console.log(`${outputs.length + 3} files, ${Math.round(bytes / 1024)} KB of scripts and styles`);

/** The licences of all packages of which something is in the bundles. Fails if a package brings none. */
async function licences() {
  const inputs = [pages, theme, report].flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const names = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  const parts = [];
  for (const name of [...new Set(names)].sort()) {
    const folder = join(here, "node_modules", name);
    const about = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const text = await licenceText(folder, about);
    parts.push(`${name} ${about.version} (${about.license})\n\n${text.trim()}\n`);
  }
  return `The pages hold parts of these packages.\n\n${parts.join(`\n${"-".repeat(80)}\n\n`)}`;
}

async function licenceText(folder, about) {
  for (const name of ["LICENSE", "LICENSE.md", "LICENSE.txt", "license", "LICENCE", "UNLICENSE"]) {
    try {
      return await readFile(join(folder, name), "utf8");
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
  }
  if (about.license) return `No text of its own; the package states: ${about.license}.`;
  throw new Error(`${about.name}: no licence found`);
}
