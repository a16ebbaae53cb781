// Builds the page into one HTML file inside the Python package, and the test's host into another.
// `--check` builds both again and fails where they differ from what is there.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { rolldown } from "rolldown";

// What the page contains of others, by package; their licences stand in a file beside it.
const PACKAGES = ["@modelcontextprotocol/ext-apps", "@modelcontextprotocol/client", "@modelcontextprotocol/core", "zod"];

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const version = /__version__ = "(.*)"/.exec(readFileSync(join(root, "dinox_mcp/__init__.py"), "utf8"))?.[1] ?? "0";
const page = join(root, "dinox_mcp/viewer/viewer.html");
const licences = join(root, "dinox_mcp/viewer/THIRD_PARTY.txt");
const host = join(root, "tests/viewer/host.html");

/** Zod brings its messages in fifty languages, which its own imports keep alive: English is enough. */
const english = {
  name: "english",
  load: (id) => (/zod\/v4\/locales\/index\.js$/.test(id) ? 'export { default as en } from "./en.js";' : null),
};

async function bundle(input) {
  const build = await rolldown({
    input,
    platform: "browser",
    // The official client and zod can be shaken, though they do not say so; it halves the page.
    treeshake: { moduleSideEffects: (id) => !id.includes("node_modules"), manualPureFunctions: ["console.debug"] },
    transform: { define: { VERSION: JSON.stringify(version) }, target: "es2022" },
    plugins: [english],
  });
  const { output } = await build.generate({ format: "iife", minify: true, comments: false });
  // Nothing in a script may end it.
  return output[0].code.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
}

/** Everything that the built files are made of, hashed as tests/viewer/test_built.py does. */
function sources() {
  const files = ["build.mjs", "package.json", "package-lock.json"].map((name) => join(here, name));
  for (const folder of ["src", "host"]) {
    files.push(...readdirSync(join(here, folder)).map((name) => join(here, folder, name)));
  }
  const hash = createHash("sha256");
  for (const file of files.sort()) {
    const data = readFileSync(file, "utf8").replaceAll("\r\n", "\n");
    hash.update(`${relative(here, file).replaceAll("\\", "/")}\0${data}\0`);
  }
  return hash.digest("hex");
}

function read(name) {
  return readFileSync(join(here, "node_modules", name), "utf8");
}

/** Name the bundled packages and whose they are. */
function notice() {
  return PACKAGES.map((name) => {
    const { version, license } = JSON.parse(read(`${name}/package.json`));
    const owner = /^Copyright \(c\) (.*)$/m.exec(read(`${name}/LICENSE`))?.[1];
    return `${name} ${version} (${license}, (c) ${owner})`;
  }).join("; ");
}

function write(target, text) {
  if (!process.argv.includes("--check")) writeFileSync(target, text);
  else if (readFileSync(target, "utf8") !== text) throw new Error(`${target} is stale: run npm run build in viewer/`);
  console.log(`${relative(root, target)}: ${Math.round(Buffer.byteLength(text) / 1000)} kB`);
}

async function build(folder, entry, target) {
  const stamp = `<!doctype html>\n<!-- Built by viewer/build.mjs; do not edit. sources: ${sources()} Includes ${notice()}. -->`;
  const own = (name) => readFileSync(join(here, folder, name), "utf8");
  let html = own("index.html").replace("<!doctype html>", () => stamp);
  html = html.replace("/*STYLE*/", () => own("style.css").replace(/\s*\n\s*/g, "\n"));
  html = html.replace("/*SCRIPT*/", await bundle(join(here, folder, entry)).then((code) => () => code));
  write(target, html);
}

await build("src", "main.ts", page);
await build("host", "host.ts", host);

const texts = new Map();
for (const name of PACKAGES) {
  const text = read(`${name}/LICENSE`).trim();
  texts.set(text, [...(texts.get(text) ?? []), name]);
}
write(licences, [...texts].map(([text, names]) => `${names.join(", ")}\n\n${text}\n`).join(`\n${"-".repeat(80)}\n\n`));
