// A pointer that is moved by the arrow keys, for tools without a mouse: Enter presses and lifts it.

import { clamp } from './dom.js';

const STEPS = { far: 16, near: 2 }; // screen pixels
const WAYS = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });
const ID = 4711; // of the pointer, unlike those of devices

export class KeyboardPointer {
  /** @param {HTMLCanvasElement} canvas @param {import('./store.js').Store} store */
  constructor(canvas, store) {
    this.canvas = canvas;
    this.store = store;
    this.on = this.isDown = false;
    this.x = this.y = 0; // from the corner of the canvas, in screen pixels
  }

  toggle() {
    if (this.isDown) this.send('pointercancel', false);
    this.on = !this.on;
    this.isDown = false;
    if (!this.on) return this.send('pointerleave', false);
    this.canvas.focus();
    this.x = this.canvas.clientWidth / 2;
    this.y = this.canvas.clientHeight / 2;
    this.send('pointermove', false);
  }

  /** Whether the pointer took the key. @param {KeyboardEvent} event */
  takes(event) {
    if (!this.on) return false;
    const way = WAYS[event.key], step = event.shiftKey ? STEPS.near : STEPS.far;
    if (way) {
      this.x = clamp(this.x + way[0] * step, 0, this.canvas.clientWidth - 1);
      this.y = clamp(this.y + way[1] * step, 0, this.canvas.clientHeight - 1);
      this.send('pointermove', event.altKey);
    } else if (event.key === 'Enter') this.press(event.altKey);
    else if (event.key === 'Escape') this.toggle();
    else return false;
    return true;
  }

  /** Press and lift with the click tool; press, and lift with the next Enter, with the others. @param {boolean} alt */
  press(alt) {
    this.send(this.isDown ? 'pointerup' : 'pointerdown', alt);
    this.isDown = !this.isDown;
    if (this.isDown && this.store.tool === 'click') this.press(alt);
  }

  /** @param {string} type @param {boolean} altKey */
  send(type, altKey) {
    const box = this.canvas.getBoundingClientRect();
    this.canvas.dispatchEvent(new PointerEvent(type, { pointerId: ID, pointerType: 'mouse', bubbles: true, cancelable: true,
      altKey, clientX: box.left + this.x, clientY: box.top + this.y }));
  }
}
