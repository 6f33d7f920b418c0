// Masks as run lengths: decoding, encoding, hit tests and outlines.

/**
 * A mask of one object in video pixels. `runs` are lengths in rows from the top left, background first.
 * @typedef {{id: number, score: number, width: number, height: number, runs: number[], outline?: Path2D}} Mask
 */

/**
 * Read the masks of a frame: for each object its id (u8), its score (f32, little endian) and its
 * run lengths as LEB128 numbers that add up to the area of the frame.
 * @param {ArrayBuffer} buffer @param {number} width @param {number} height
 * @returns {Mask[]}
 */
export function decodeMasks(buffer, width, height) {
  const view = new DataView(buffer), masks = [];
  let at = 0;
  while (at < view.byteLength) {
    const id = view.getUint8(at), score = view.getFloat32(at + 1, true), runs = [];
    at += 5;
    for (let left = width * height; left > 0;) {
      let run = 0, scale = 1, byte = 0;
      do {
        byte = view.getUint8(at++);
        run += (byte & 127) * scale;
        scale *= 128;
      } while (byte & 128);
      runs.push(run);
      left -= run;
      if (left < 0) throw new RangeError('a mask has more pixels than the frame');
    }
    masks.push({ id, score, width, height, runs });
  }
  return masks;
}

/**
 * The run lengths as LEB128 bytes.
 * @param {number[]} runs
 */
export function encodeRuns(runs) {
  const bytes = [];
  for (let run of runs) {
    while (run >= 128) {
      bytes.push((run & 127) | 128);
      run = Math.floor(run / 128);
    }
    bytes.push(run);
  }
  return Uint8Array.from(bytes);
}

/**
 * The run lengths of a bitmap with a byte for each pixel.
 * @param {Uint8Array} bitmap
 */
export function runsOf(bitmap) {
  const runs = [];
  let value = 0, start = 0;
  for (let i = 0; i <= bitmap.length; i++) {
    const now = i === bitmap.length ? -1 : bitmap[i] ? 1 : 0;
    if (now === value) continue;
    runs.push(i - start);
    [value, start] = [now, i];
  }
  return runs;
}

/**
 * A byte for each pixel: 1 inside the mask.
 * @param {Mask} mask
 */
export function bitmapOf(mask) {
  const bitmap = new Uint8Array(mask.width * mask.height);
  let at = 0;
  mask.runs.forEach((run, i) => {
    if (i % 2) bitmap.fill(1, at, at + run);
    at += run;
  });
  return bitmap;
}

/** Number of pixels. @param {Mask} mask */
export const areaOf = mask => mask.runs.reduce((sum, run, i) => (i % 2 ? sum + run : sum), 0);

/** Whether a pixel is inside. @param {Mask} mask @param {number} x @param {number} y */
export function covers(mask, x, y) {
  if (x < 0 || y < 0 || x >= mask.width || y >= mask.height) return false;
  let left = Math.floor(y) * mask.width + Math.floor(x);
  for (let i = 0; i < mask.runs.length; i++) {
    left -= mask.runs[i];
    if (left < 0) return i % 2 === 1;
  }
  return false;
}

/**
 * The outline as closed polygons through the middles of the pixels' outer edges. Made once per mask.
 * @param {Mask} mask
 */
export function outlineOf(mask) {
  return (mask.outline ??= trace(bitmapOf(mask), mask.width, mask.height));
}

/** @param {Uint8Array} bitmap @param {number} width @param {number} height */
function trace(bitmap, width, height) {
  const inside = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && bitmap[y * width + x] === 1;
  const across = width + 1, path = new Path2D();
  /** Directed edges with the mask on their right: from the number of a corner to the next corners. @type {Map<number, number[]>} */
  const edges = new Map();
  const add = (/** @type {number} */ from, /** @type {number} */ to) => {
    const ends = edges.get(from);
    if (ends) ends.push(to); else edges.set(from, [to]);
  };
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!bitmap[i]) continue;
      const corner = y * across + x, below = corner + across;
      if (!inside(x, y - 1)) add(corner, corner + 1);
      if (!inside(x + 1, y)) add(corner + 1, below + 1);
      if (!inside(x, y + 1)) add(below + 1, below);
      if (!inside(x - 1, y)) add(below, corner);
    }
  }
  for (const start of edges.keys()) {
    for (let from = start, first = true; edges.get(from)?.length; first = false) {
      const to = /** @type {number} */ (edges.get(from)?.pop());
      const x = ((from % across) + (to % across)) / 2;
      const y = (Math.floor(from / across) + Math.floor(to / across)) / 2;
      if (first) path.moveTo(x, y); else path.lineTo(x, y);
      from = to;
    }
    path.closePath();
  }
  return path;
}
