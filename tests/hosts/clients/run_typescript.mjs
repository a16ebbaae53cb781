// The TypeScript client: of version 2 (@modelcontextprotocol/client) or 1 (@modelcontextprotocol/sdk), named in the job.
// The job on stdin and the report on stdout are those of job.py; `progress` and `cancelled` are this client's own.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(`${job.node_modules}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const version1 = job.package === "@modelcontextprotocol/sdk";
const parts = version1
  ? ["client/index.js", "client/stdio.js", "client/streamableHttp.js"].map((path) => `${job.package}/${path}`)
  : [job.package, `${job.package}/stdio`, job.package];
const [{ Client }, { StdioClientTransport }, { StreamableHTTPClientTransport }] = await Promise.all(parts.map(load));

const options = job.modern ? { versionNegotiation: { mode: "auto" } } : {};
const client = new Client({ name: "dinox-mcp-hosts", version: "1" }, options);
const { url } = job.server;
await client.connect(url ? new StreamableHTTPClientTransport(new URL(url)) : new StdioClientTransport(job.server));

const call = (name, args, settings) => {
  const request = { name, arguments: args };
  return version1 ? client.callTool(request, undefined, settings) : client.callTool(request, settings);
};
const { tools } = await client.listTools();
const answers = [];
let progress = 0;
for (const [name, given] of job.calls) {
  const ids = [...JSON.stringify(answers).matchAll(/Result id: ([\w-]+)/g)].map((match) => match[1]);
  const args = Object.fromEntries(Object.entries(given).map(([key, value]) => [key, value === "{result}" ? ids.at(-1) : value]));
  const answer = await call(name, args, { timeout: 120_000, onprogress: () => (progress += 1) });
  answers.push({
    text: answer.content.filter((block) => block.type === "text").map((block) => block.text).join("\n"),
    pictures: answer.content.filter((block) => block.type === "image").map((block) => block.data),
    structured: answer.structuredContent ?? null,
    error: answer.isError ?? false,
  });
}

let cancelled = null;
if (job.cancel) {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 300);
  cancelled = await call(...job.cancel, { signal: stop.signal }).then(() => "answered", () => "cancelled");
  await client.listTools(); // the server is there as before
}
await client.close();
const declared = tools.map((tool) => ({ name: tool.name, json: JSON.stringify(tool), output: Boolean(tool.outputSchema) }));
const { version } = JSON.parse(readFileSync(`${job.node_modules}/${job.package}/package.json`, "utf8"));
process.stdout.write(JSON.stringify({ version, tools: declared, answers, progress, cancelled }));
