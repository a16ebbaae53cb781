/** BLAKE2s (RFC 7693) without a key: what `dinox_mcp/drawing/colors.py` picks a label's colour with. */

const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const SIGMA = [
  "0123456789abcdef",
  "ea489fd61c02b753",
  "b8c052fdae367194",
  "7931dcbe265a40f8",
  "9057fe24b1f3ad86",
  "2c6a0b834d75fe19",
  "c51fed4a0763928b",
  "db7ec13950f4862a",
  "6fe9b308c2d714a5",
  "a2847615fb9e3cd0",
].map((row) => Array.from(row, (digit) => parseInt(digit, 16)));
const LANES = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
] as [number, number, number, number][];
const BLOCK = 64;

/** Hash with a digest of four bytes and a salt of at most eight; gives the digest as a big-endian number. */
export function blake2s32(data: Uint8Array, salt: Uint8Array): number {
  const salted = new Uint8Array(8);
  salted.set(salt);
  const saltWords = new DataView(salted.buffer);
  const h = Uint32Array.from(IV);
  h[0]! ^= 0x01010004;
  h[4]! ^= saltWords.getUint32(0, true);
  h[5]! ^= saltWords.getUint32(4, true);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK));
  for (let block = 0; block < blocks; block++) {
    const last = block === blocks - 1;
    const bytes = new Uint8Array(BLOCK);
    bytes.set(data.subarray(block * BLOCK, (block + 1) * BLOCK));
    compress(h, bytes, last ? data.length : (block + 1) * BLOCK, last);
  }
  const digest = new DataView(new ArrayBuffer(4));
  digest.setUint32(0, h[0]!, true);
  return digest.getUint32(0);
}

function compress(h: Uint32Array, block: Uint8Array, length: number, last: boolean): void {
  const words = new DataView(block.buffer);
  const m = Array.from({ length: 16 }, (_, place) => words.getUint32(4 * place, true));
  const v = new Uint32Array(16);
  v.set(h);
  v.set(IV, 8);
  v[12]! ^= length;
  if (last) v[14] = ~v[14]!;
  for (const sigma of SIGMA) {
    LANES.forEach(([a, b, c, d], lane) => {
      mix(v, a, b, c, d, m[sigma[2 * lane]!]!, m[sigma[2 * lane + 1]!]!);
    });
  }
  for (let place = 0; place < 8; place++) h[place]! ^= v[place]! ^ v[place + 8]!;
}

function mix(v: Uint32Array, a: number, b: number, c: number, d: number, x: number, y: number): void {
  v[a] = v[a]! + v[b]! + x;
  v[d] = rotate(v[d]! ^ v[a]!, 16);
  v[c] = v[c]! + v[d]!;
  v[b] = rotate(v[b]! ^ v[c]!, 12);
  v[a] = v[a]! + v[b]! + y;
  v[d] = rotate(v[d]! ^ v[a]!, 8);
  v[c] = v[c]! + v[d]!;
  v[b] = rotate(v[b]! ^ v[c]!, 7);
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
