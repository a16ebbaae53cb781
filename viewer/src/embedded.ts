/** The page by itself: `dinox-mcp detect --html` has put results and pictures into it. */

import { fromBase64 } from "./base64";
import { download, type Host } from "./host";
import { Picture } from "./picture";
import { fields, readReply, string } from "./read";
import type { Reply } from "./types";

export interface Embedded {
  host: Host;
  replies: Reply[];
}

/** Read what the page carries; undefined when it carries nothing. */
export function readEmbedded(): Embedded | undefined {
  const element = document.getElementById("dinox-data");
  if (!element) return undefined;
  const data = fields(JSON.parse(element.textContent ?? ""));
  const entries = Array.isArray(data?.results) ? data.results.map(fields) : [];
  const pictures = new Map<Reply, { data: string; type: string }>();
  for (const entry of entries) {
    const reply = readReply(entry?.result);
    if (reply) pictures.set(reply, { data: string(entry?.picture) ?? "", type: string(entry?.type) ?? "image/jpeg" });
  }
  const host: Host = {
    async picture(reply) {
      const found = pictures.get(reply);
      return found && Picture.decode(fromBase64(found.data), found.type);
    },
    async result() {
      return undefined; // masks came along
    },
    async save(name, file) {
      download(name, file);
      return `Saved ${name}`;
    },
  };
  return { host, replies: [...pictures.keys()] };
}
