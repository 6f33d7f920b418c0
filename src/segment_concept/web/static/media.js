// Stills and masks of frames, kept in memory as long as there is room.

import { decodeMasks, outlineOf } from './masks.js';
import { h } from './dom.js';

const BYTES = 160e6; // for stills, at 4 bytes a pixel
const MASKS = 96; // frames whose masks are kept
const SMALL = 400; // thumbnails that are kept

/**
 * Values by key; the one that was used longest ago is dropped first.
 * @template K, V
 */
class Recent {
  /** @param {number} most */
  constructor(most) {
    this.most = most;
    /** @type {Map<K, V>} */
    this.values = new Map();
  }

  /** The value, made if it is not there. @param {K} key @param {() => V} make @returns {V} */
  get(key, make) {
    const value = this.values.get(key) ?? make();
    this.values.delete(key);
    this.values.set(key, value);
    if (this.values.size > this.most) this.values.delete(/** @type {K} */ (this.values.keys().next().value));
    return value;
  }
}

export class Media {
  /** @param {import('./api.js').ProjectApi} api @param {import('./store.js').Store} store @param {string} key */
  constructor(api, store, key) {
    this.api = api;
    this.store = store;
    /** What the masks of a frame depend on: the last event that changed all frames, and that of the frame. */
    this.key = key;
    /** @type {Map<number, string>} */
    this.keys = new Map();
    const { width, height } = store.size;
    /** @type {Recent<number, Promise<ImageBitmap>>} */
    this.stills = new Recent(Math.max(6, Math.min(64, Math.floor(BYTES / (4 * width * height)))));
    /** @type {Recent<string, Promise<import('./masks.js').Mask[]>>} */
    this.masks = new Recent(MASKS);
    /** @type {Recent<number, Promise<ImageBitmap | null>>} */
    this.small = new Recent(SMALL);
    /** How to paint the thumbnails that were not on the screen yet. @type {WeakMap<Element, () => void>} */
    this.unpainted = new WeakMap();
    this.observer = new IntersectionObserver(entries => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        this.observer.unobserve(target);
        this.unpainted.get(target)?.();
      }
    });
  }

  /** The still of a frame in full size. @param {number} index */
  get(index) {
    return this.stills.get(index, () => {
      const still = this.api.still(index, 'full');
      still.catch(() => this.stills.values.delete(index));
      return still;
    });
  }

  /** Request the stills and masks next to a frame in the direction of travel. @param {number} index @param {number} direction */
  prefetch(index, direction) {
    for (const next of [index + direction, index + 2 * direction]) {
      if (next < 0 || next >= this.store.length) continue;
      this.get(next).catch(() => {});
      this.masksOf(next).catch(() => {});
    }
  }

  /** The masks of a frame; none if nothing is known there. @param {number} index */
  masksOf(index) {
    const name = `${index} ${this.keys.get(index) ?? this.key}`;
    return this.masks.get(name, () => {
      const { width, height } = this.store.size;
      const masks = this.api.masks(index, name.split(' ')[1]).then(buffer => decodeMasks(buffer, width, height));
      masks.catch(() => this.masks.values.delete(name));
      return masks;
    });
  }

  /** The masks of a frame changed, or of all frames. @param {string} key @param {number | null} index */
  touch(key, index) {
    if (index !== null) this.keys.set(index, key);
    else {
      this.keys.clear();
      this.key = key;
    }
  }

  /**
   * A small picture of a frame with the outline of an object, filled when it is on the screen.
   * @param {number} index @param {number} object
   */
  thumbnail(index, object) {
    const canvas = h('canvas', { class: 'thumbnail', width: 320, height: Math.round((320 * this.store.size.height) / (this.store.size.width * this.store.aspect)) });
    this.unpainted.set(canvas, () => this.paint(canvas, index, object));
    this.observer.observe(canvas);
    return canvas;
  }

  /** @param {HTMLCanvasElement} canvas @param {number} index @param {number} object */
  async paint(canvas, index, object) {
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')), { store } = this;
    const still = await this.small.get(index, () => this.api.still(index, devicePixelRatio > 1 ? 480 : 160).catch(() => null));
    if (!still) return;
    context.drawImage(still, 0, 0, canvas.width, canvas.height);
    const mask = object ? (await this.masksOf(index).catch(() => [])).find(each => each.id === object) : null;
    if (!mask) return;
    const scale = canvas.height / store.size.height;
    context.setTransform(scale * store.aspect, 0, 0, scale, 0, 0);
    context.fillStyle = context.strokeStyle = store.colorOf(object);
    context.lineWidth = 2.5 / scale;
    context.globalAlpha = 0.35;
    context.fill(outlineOf(mask), 'evenodd');
    context.globalAlpha = 1;
    context.stroke(outlineOf(mask));
  }
}
