// The keys of all commands, in one table that the reader can change.

/** @typedef {{id: string, keys: string[], label: string, group: string}} Command */

/** @type {Command[]} */
const COMMANDS = [
  ['Move', 'play', 'Play or pause', 'Space'],
  ['Move', 'previous', 'One frame back', ',', 'ArrowLeft'],
  ['Move', 'next', 'One frame on', '.', 'ArrowRight'],
  ['Move', 'previous-10', 'Ten frames back', 'Shift+ArrowLeft'],
  ['Move', 'next-10', 'Ten frames on', 'Shift+ArrowRight'],
  ['Move', 'previous-cut', 'Previous cut', 'Alt+ArrowLeft'],
  ['Move', 'next-cut', 'Next cut', 'Alt+ArrowRight'],
  ['Move', 'first', 'First frame', 'Home'],
  ['Move', 'last', 'Last frame', 'End'],
  ['Mark', 'click', 'Click tool', 'C'],
  ['Mark', 'negative', 'Negative clicks on or off (or hold Alt)', 'N'],
  ['Mark', 'box', 'Box tool', 'B'],
  ['Mark', 'brush', 'Brush', 'M'],
  ['Mark', 'eraser', 'Eraser', 'E'],
  ['Mark', 'pointer', 'Pointer moved by the arrow keys; Enter presses', 'P'],
  ['Mark', 'smaller', 'Smaller brush', '-'],
  ['Mark', 'larger', 'Larger brush', '+', '='],
  ['Mark', 'add', 'New object with the next prompt', '0'],
  ['Mark', 'clear', 'Clear the prompt of this frame', 'Delete', 'Backspace'],
  ['Mark', 'undo', 'Undo', 'Ctrl+Z'],
  ['Mark', 'redo', 'Redo', 'Ctrl+Shift+Z', 'Ctrl+Y'],
  ['Track', 'track', 'Track to the end', 'T'],
  ['Track', 'track-backward', 'Track backwards', 'Shift+T'],
  ['Track', 'track-both', 'Track in both directions', 'Alt+T'],
  ['Track', 'stop', 'Stop; finished frames are kept', 'Escape'],
  ['Track', 'lock', 'Lock or unlock this frame', 'L'],
  ['Review', 'next-doubt', 'Next doubtful frame', ']'],
  ['Review', 'previous-doubt', 'Previous doubtful frame', '['],
  ['Review', 'confirm', 'Confirm the object in this shot', 'Enter'],
  ['Review', 'deny', 'Deny: this is another object', 'X'],
  ['View', 'fit', 'Show the whole frame', 'F'],
  ['View', 'view', 'Overlay, outline or matte', 'O'],
  ['View', 'hide', 'Hide the masks', 'H'],
  ['View', 'export', 'Export', 'S'],
  ['View', 'help', 'These keys', '?'],
].map(([group, id, label, ...keys]) => ({ group, id, label, keys }));

const STORED = 'segment-concept keys';

/** The key of an event, such as `Ctrl+Shift+Z`. @param {KeyboardEvent} event */
export function keyOf(event) {
  const key = event.key === ' ' ? 'Space' : event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const letter = /^[A-Z]$/.test(key) || key.length > 1;
  return [event.ctrlKey || event.metaKey ? 'Ctrl' : '', event.altKey ? 'Alt' : '',
    event.shiftKey && letter ? 'Shift' : '', key].filter(Boolean).join('+');
}

const SIGNS = /** @type {Record<string, string>} */ ({ ArrowLeft: '←', ArrowRight: '→', Escape: 'Esc', Delete: 'Del', Backspace: '⌫' });

/** A key as it is written on the page. @param {string} key */
export const written = key => key.split('+').map(part => SIGNS[part] ?? part).join(' + ').replace(/^ \+ $/, '+');

export class Keys {
  constructor() {
    /** @type {Record<string, string[]>} */
    this.changed = JSON.parse(localStorage.getItem(STORED) ?? '{}');
  }

  /** @returns {Command[]} */
  get commands() {
    return COMMANDS.map(command => ({ ...command, keys: this.changed[command.id] ?? command.keys }));
  }

  /** The command of a key. @param {string} key */
  find(key) {
    return this.commands.find(command => command.keys.includes(key))?.id ?? null;
  }

  /** The first key of a command. @param {string} id */
  keyFor(id) {
    return this.commands.find(command => command.id === id)?.keys[0] ?? null;
  }

  /** Give a command a key, which another one then loses. @param {string} id @param {string} key */
  set(id, key) {
    for (const command of this.commands) {
      if (command.keys.includes(key)) this.changed[command.id] = command.keys.filter(each => each !== key);
    }
    this.changed[id] = [key];
    localStorage.setItem(STORED, JSON.stringify(this.changed));
  }

  reset() {
    this.changed = {};
    localStorage.removeItem(STORED);
  }
}
