// Helpers that make elements. Text is only ever set as text, never parsed as HTML.

/**
 * An element with properties and children. `class` and attributes with a hyphen are set as
 * attributes, names that begin with `on` as listeners, everything else as properties.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class' || name === 'role' || name.includes('-')) element.setAttribute(name, String(value));
    else /** @type {any} */ (element)[name] = value;
  }
  for (const child of children) if (child || child === '') element.append(child);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/**
 * A picture from the sprite.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'use'));
  setIcon(svg, name);
  return svg;
}

/**
 * Show another picture of the sprite.
 * @param {Element} svg
 * @param {string} name
 */
export function setIcon(svg, name) {
  svg.querySelector('use')?.setAttribute('href', `${new URL('icons.svg', import.meta.url).pathname}#${name}`);
}

/**
 * The element with an id; it must exist.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Hours, minutes, seconds and hundredths. @param {number} seconds */
export function timecode(seconds) {
  const hundredths = Math.round(seconds * 100);
  const pad = (/** @type {number} */ value) => String(Math.floor(value)).padStart(2, '0');
  const [h, m, s] = [hundredths / 360000, (hundredths / 6000) % 60, (hundredths / 100) % 60];
  return `${h >= 1 ? `${Math.floor(h)}:` : ''}${pad(m)}:${pad(s)}.${pad(hundredths % 100)}`;
}

/** A length of time in words. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
