/** The page by itself: `dinox-mcp detect --html` has put results and pictures into it. */

import { fromBase64 } from "./base64";
import { download, type Host } from "./host";
import { Picture } from "./picture";
import { readComparison, type Comparison } from "./changes";
import { fields, readReply, string } from "./read";
import type { Reply } from "./types";

export interface Embedded {
  host: Host;
  replies: Reply[];
  /** The comparison of two of the replies' pictures. */
  comparison: Comparison | undefined;
}

/** Read what the page carries; undefined when it carries nothing. */
export function readEmbedded(): Embedded | undefined {
  const element = document.getElementById("dinox-data");
  if (!element) return undefined;
  const data = fields(JSON.parse(element.textContent ?? ""));
  const entries = Array.isArray(data?.results) ? data.results.map(fields) : [];
  const replies: Reply[] = [];
  const pictures = new Map<string, { data: string; type: string }>();
  for (const entry of entries) {
    const reply = readReply(entry?.result);
    if (!reply) continue;
    replies.push(reply);
    pictures.set(reply.resultId, { data: string(entry?.picture) ?? "", type: string(entry?.type) ?? "image/jpeg" });
  }
  const host: Host = {
    async picture({ resultId }) {
      const found = pictures.get(resultId);
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
  return { host, replies, comparison: readComparison(data?.comparison) };
}
