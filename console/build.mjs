// Bundles src/ into ../streamsim/server/console: files whose names carry a hash of what is in them, each also as .gz,
// and index.html, which names them. index.html comes last: who finds it finds a whole bundle.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const into = join(here, "..", "streamsim", "server", "console");

await rm(into, { recursive: true, force: true });
await mkdir(into, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.tsx"],
  outdir: into,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  legalComments: "none",
  metafile: true,
  logLevel: "error",
});
const outputs = Object.entries(metafile.outputs);
const entry = outputs.find(([, one]) => one.entryPoint === "src/main.tsx");
const name = (path) => path.split("/").at(-1);
const drawing = await readFile(join(here, "src", "icon.svg"));
const icon = `icon-${createHash("sha256").update(drawing).digest("hex").slice(0, 8)}.svg`;
await writeFile(join(into, icon), drawing);
const page = (await readFile(join(here, "src", "index.html"), "utf8"))
  .replace("MAIN.js", name(entry[0]))
  .replace("ICON.svg", icon)
  .replace("MAIN.css", name(entry[1].cssBundle));
for (const file of await readdir(into)) {
  await writeFile(join(into, `${file}.gz`), gzipSync(await readFile(join(into, file)), { level: 9 }));
}
await writeFile(join(into, "index.html.gz"), gzipSync(page, { level: 9 }));
await writeFile(join(into, "index.html"), page);
