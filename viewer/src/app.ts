/** The page in an MCP host, spoken to by the official client of MCP Apps. */

import { App, applyDocumentTheme, applyHostStyleVariables, type McpUiHostContext } from "@modelcontextprotocol/ext-apps";
import type { CallToolResult, ReadResourceResult } from "@modelcontextprotocol/client";

import { fromBase64, toBase64 } from "./base64";
import { download, type Host } from "./host";
import { Picture } from "./picture";
import { fields, string } from "./read";
import type { Patch } from "./stage";
import type { Box, Found, Reply } from "./types";

/** The events that the host sends to the page. */
export interface Listener {
  requested(given: Record<string, unknown>): void;
  /** `image` decodes the first image of the reply. */
  replied(structured: unknown, text: string, image: () => Promise<Picture | undefined>): void;
  failed(reason: string): void;
  contextChanged(context: McpUiHostContext): void;
}

/** Connect to the host that shows this page. */
export async function connect(version: string, listener: Listener): Promise<AppHost> {
  const app = new App(
    { name: "dinox-mcp-viewer", version },
    { availableDisplayModes: ["inline", "fullscreen"] },
    { autoResize: false },
  );
  app.ontoolinput = ({ arguments: given }) => listener.requested(given ?? {});
  app.ontoolresult = (result) => {
    const text = textOf(result);
    if (result.isError) listener.failed(text || "the tool failed");
    else listener.replied(result.structuredContent, text, () => imageOf(result));
  };
  app.ontoolcancelled = ({ reason }) => listener.failed(reason ? `stopped: ${reason}` : "stopped");
  app.onhostcontextchanged = (context) => {
    follow(context);
    listener.contextChanged({ ...app.getHostContext(), ...context });
  };
  app.onteardown = async () => ({});
  await app.connect();
  const context = app.getHostContext() ?? {};
  follow(context);
  listener.contextChanged(context);
  return new AppHost(app);
}

export class AppHost implements Host {
  readonly ask: Host["ask"];
  readonly informModel: Host["informModel"];
  readonly findSimilar: Host["findSimilar"];
  readonly fetchPatch: Host["fetchPatch"];
  readonly toggleFullscreen: Host["toggleFullscreen"];

  constructor(private readonly app: App) {
    const can = app.getHostCapabilities() ?? {};
    const modes = app.getHostContext()?.availableDisplayModes ?? [];
    if (can.message) this.ask = (text) => this.say(text);
    if (can.updateModelContext) this.informModel = (text) => this.inform(text);
    if (can.serverTools) this.findSimilar = (reply, found) => this.search(reply, found);
    if (can.serverResources) this.fetchPatch = (reply, frame) => this.part(reply, frame);
    if (modes.includes("fullscreen")) this.toggleFullscreen = () => this.switchMode();
  }

  resized(height: number): void {
    void this.app.sendSizeChanged({ height }).catch(() => undefined);
  }

  async picture({ resultId, video }: Pick<Reply, "resultId" | "video">): Promise<Picture | undefined> {
    const can = this.app.getHostCapabilities() ?? {};
    if (video) return video.sheet && can.serverResources ? this.read(video.sheet) : undefined;
    if (can.serverResources) {
      try {
        return await this.read(`dinox://results/${resultId}/preview.jpg`);
      } catch (error) {
        if (!can.serverTools) throw error;
      }
    }
    // Some hosts let a page call tools, yet not read resources.
    return can.serverTools ? this.visualized(resultId) : undefined;
  }

  async result(uri: string): Promise<unknown> {
    if (!this.app.getHostCapabilities()?.serverResources) return undefined;
    const { contents } = await this.app.readServerResource({ uri });
    const text = string(fields(contents[0])?.text);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async save(name: string, file: Blob): Promise<string> {
    if (!this.app.getHostCapabilities()?.downloadFile) {
      download(name, file);
      return `Saved ${name}, if this host lets pages save files`;
    }
    const uri = `file:///${name}`;
    const resource = file.type.startsWith("image/")
      ? { uri, mimeType: file.type, blob: await toBase64(file) }
      : { uri, mimeType: file.type, text: await file.text() };
    const { isError } = await this.app.downloadFile({ contents: [{ type: "resource", resource }] });
    return isError ? `The host did not save ${name}` : `Saved ${name}`;
  }

  private async say(text: string): Promise<void> {
    const { isError } = await this.app.sendMessage({ role: "user", content: [{ type: "text", text }] });
    if (isError) throw new Error("the host did not take the message");
  }

  private async inform(text: string): Promise<void> {
    await this.app.updateModelContext({ content: [{ type: "text", text }] });
  }

  private async search({ resultId }: Reply, { id }: Found): Promise<unknown> {
    const given = { image: `dinox://results/${resultId}`, examples: [{ result: resultId, object: id }] };
    const result = await this.app.callServerTool({ name: "detect_by_example", arguments: given });
    if (result.isError) throw new Error(textOf(result) || "nothing could be searched");
    return result.structuredContent;
  }

  private async part({ resultId, video }: Reply, frame: Box): Promise<Patch | undefined> {
    if (video) return undefined;
    const uri = `dinox://results/${resultId}/regions/${frame.join("_")}.jpg`;
    const bytes = bytesOf(await this.app.readServerResource({ uri }));
    return bytes && { bitmap: await createImageBitmap(new Blob([bytes], { type: "image/jpeg" })), frame };
  }

  private async read(uri: string): Promise<Picture> {
    const bytes = bytesOf(await this.app.readServerResource({ uri }));
    if (!bytes) throw new Error("the host gave no picture");
    return Picture.decode(bytes, "image/jpeg");
  }

  private async visualized(resultId: string): Promise<Picture | undefined> {
    const given = { result: resultId, show: [] };
    const result = await this.app.callServerTool({ name: "visualize", arguments: given });
    if (result.isError) throw new Error(textOf(result));
    return imageOf(result);
  }

  private async switchMode(): Promise<void> {
    const mode = this.app.getHostContext()?.displayMode === "fullscreen" ? "inline" : "fullscreen";
    await this.app.requestDisplayMode({ mode });
  }
}

function follow({ theme, styles, safeAreaInsets }: McpUiHostContext): void {
  if (theme) applyDocumentTheme(theme);
  if (styles?.variables) applyHostStyleVariables(styles.variables);
  if (safeAreaInsets) {
    const { top, right, bottom, left } = safeAreaInsets;
    document.body.style.padding = `${top}px ${right}px ${bottom}px ${left}px`;
  }
}

function textOf({ content }: CallToolResult): string {
  return content.map((block) => (block.type === "text" ? block.text : "")).join("\n");
}

async function imageOf({ content }: CallToolResult): Promise<Picture | undefined> {
  const image = content.find((block) => block.type === "image");
  return image && Picture.decode(fromBase64(image.data), image.mimeType);
}

function bytesOf({ contents }: ReadResourceResult): Uint8Array<ArrayBuffer> | undefined {
  const blob = string(fields(contents[0])?.blob);
  return blob === undefined ? undefined : fromBase64(blob);
}
