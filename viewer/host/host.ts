/** A small MCP host for tests: the official bridge, a sandboxed frame, and the content policy that hosts set. */

import { AppBridge, PostMessageTransport, type McpUiHostCapabilities, type McpUiHostContext } from "@modelcontextprotocol/ext-apps/app-bridge";
import type { CallToolResult, ReadResourceResult } from "@modelcontextprotocol/client";

/** What the test says and provides. */
interface Setup {
  html: string;
  capabilities: McpUiHostCapabilities;
  context: McpUiHostContext;
}

declare global {
  interface Window {
    start(setup: Setup): Promise<void>;
    bridge: AppBridge;
    seen: { messages: string[]; context: string[]; files: { name: string; data: string }[]; sizes: unknown[]; modes: string[] };
    readResource(uri: string): Promise<ReadResourceResult>;
    callTool(name: string, given: unknown): Promise<CallToolResult>;
  }
}

// As the specification of MCP Apps has it for a resource that declares no domains.
const POLICY =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "media-src 'self' data:; connect-src 'none'; frame-src 'none'; object-src 'none'; base-uri 'self'";

window.seen = { messages: [], context: [], files: [], sizes: [], modes: [] };

window.start = async ({ html, capabilities, context }) => {
  const frame = document.querySelector<HTMLIFrameElement>("#view")!;
  const bridge = new AppBridge(null, { name: "test-host", version: "1" }, capabilities, { hostContext: context });
  window.bridge = bridge;
  const { seen } = window;
  bridge.onreadresource = ({ uri }) => window.readResource(uri);
  bridge.oncalltool = ({ name, arguments: given }) => window.callTool(name, given ?? {});
  bridge.onmessage = async ({ content }) => {
    seen.messages.push(...content.map((block) => (block.type === "text" ? block.text : block.type)));
    return {};
  };
  bridge.onupdatemodelcontext = async ({ content }) => {
    seen.context.push(...(content ?? []).map((block) => (block.type === "text" ? block.text : block.type)));
    return {};
  };
  bridge.ondownloadfile = async ({ contents }) => {
    for (const entry of contents) {
      if (entry.type !== "resource") continue;
      const { resource } = entry;
      seen.files.push({ name: resource.uri, data: "text" in resource ? resource.text : resource.blob });
    }
    return {};
  };
  bridge.onrequestdisplaymode = async ({ mode }) => {
    seen.modes.push(mode);
    bridge.setHostContext({ ...context, displayMode: mode });
    return { mode };
  };
  bridge.onsizechange = ({ height }) => {
    seen.sizes.push(height);
    if (height) frame.style.height = `${height}px`;
  };
  const initialized = new Promise<void>((done) => (bridge.oninitialized = () => done()));
  const policy = `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`;
  frame.srcdoc = html.replace("<head>", () => `<head>${policy}`);
  await bridge.connect(new PostMessageTransport(frame.contentWindow!, frame.contentWindow!));
  await initialized;
};
