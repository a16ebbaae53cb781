/** The environment of the page: an MCP host that shows it beside a chat, or only a browser. */

import type { Picture } from "./picture";
import type { FetchPatch } from "./stage";
import type { Found, Reply } from "./types";

export interface Host {
  /** Send a message into the chat as the person's own; undefined where there is no chat. */
  readonly ask?: (text: string) => Promise<void>;
  /** Add what the person has selected to the model's context. */
  readonly informModel?: (text: string) => Promise<void>;
  /** Search the picture for more like an object; gives the new reply. */
  readonly findSimilar?: (reply: Reply, found: Found) => Promise<unknown>;
  readonly fetchPatch?: FetchPatch;
  /** Show the page larger, or as before. */
  readonly toggleFullscreen?: () => Promise<void>;
  /** Get the picture that a reply or a side of a comparison is about, as large as may be. */
  picture(of: Pick<Reply, "resultId" | "video">): Promise<Picture | undefined>;
  /** Get a stored result, which has the masks, by the address of its resource. */
  result(uri: string): Promise<unknown>;
  /** Save a file for the person; returns a message about it. */
  save(name: string, file: Blob): Promise<string>;
}

/** Save through the browser itself. */
export function download(name: string, file: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
