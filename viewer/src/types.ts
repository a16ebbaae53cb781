/** What the page shows: the values of `dinox_mcp/server/replies.py` and `dinox_mcp/types`, as far as it needs them. */

/** [x_min, y_min, x_max, y_max] in pixels of the original picture. */
export type Box = [number, number, number, number];

/** A binary mask as compressed COCO run-length encoding; `size` is [height, width]. */
export interface Rle {
  size: [number, number];
  counts: string;
}

export interface Keypoint {
  name: string;
  x: number;
  y: number;
  /** 0 not there, 1 hidden, 2 seen. */
  visibility?: number;
  score?: number;
}

export interface Found {
  id: number;
  label: string;
  /** As CSS; see `colors`. */
  color: string;
  score?: number;
  bbox: Box;
  text?: string;
  caption?: string;
  category?: string;
  maskArea?: number;
  mask?: Rle;
  keypoints: Keypoint[];
  /** When it was seen, where it is a track of a video; then it has no box. */
  span?: Span;
}

/** A track's time in seconds, how many key frames it was found in, and which way it goes. */
export interface Span {
  first: number;
  last: number;
  seen: number;
  direction: string;
}

export interface Reply {
  resultId: string;
  objects: Found[];
  /** Found per label, the omitted ones and zeros included. */
  counts: Record<string, number>;
  omitted: number;
  width: number;
  height: number;
  source: string;
  backend: string;
  model: string;
  notes: string[];
  /** What is known of a video; the picture is its contact sheet, at the resource `sheet`. */
  video?: { duration: number; sheet: string | undefined; facts: string[] };
}
