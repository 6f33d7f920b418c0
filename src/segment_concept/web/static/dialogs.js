// The start view, the dialogs (keys, export, curves) and the messages.

import { get, post, upload } from './api.js';
import { byId, h, icon } from './dom.js';
import { keyOf, written } from './keys.js';

const SHOWN = 6000; // milliseconds that a message stays

/** Say something in one sentence. @param {string} text @param {'error' | 'note'} [kind] */
export function toast(text, kind = 'error') {
  const list = byId('toasts');
  for (const other of list.children) if (other.textContent === text) other.remove();
  const message = h('div', { class: `toast ${kind}` }, icon(kind === 'error' ? 'warning' : 'check'), h('p', {}, text),
    h('button', { class: 'tool small', 'aria-label': 'Close this message', onclick: () => message.remove() }, icon('cross')));
  list.append(message);
  setTimeout(() => message.remove(), SHOWN + 40 * text.length);
}

/** @param {string} title @param {...Node} content @returns {HTMLDialogElement} */
function open(title, ...content) {
  const dialog = /** @type {HTMLDialogElement} */ (byId('dialog'));
  dialog.replaceChildren(
    h('header', { class: 'dialog-head' }, h('h2', { id: 'dialog-title' }, title),
      h('button', { class: 'tool', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('cross'))),
    h('div', { class: 'dialog-body' }, ...content));
  dialog.onclick = event => {
    if (event.target === dialog) dialog.close(); // outside of the box
  };
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Show all keys; a click on one waits for another. @param {import('./keys.js').Keys} keys @param {() => void} changed */
export function showKeys(keys, changed) {
  const groups = new Map();
  for (const command of keys.commands) groups.set(command.group, [...(groups.get(command.group) ?? []), command]);
  const row = (/** @type {import('./keys.js').Command} */ command) => {
    const wait = (/** @type {any} */ event) => {
      const button = event.currentTarget;
      button.replaceChildren('press a key');
      button.addEventListener('keydown', (/** @type {KeyboardEvent} */ press) => {
        press.preventDefault();
        press.stopPropagation();
        if (['Shift', 'Control', 'Alt', 'Meta'].includes(press.key)) return;
        if (press.key !== 'Escape') keys.set(command.id, keyOf(press));
        changed();
        showKeys(keys, changed);
      });
    };
    return h('div', { class: 'key-row' }, h('span', {}, command.label),
      h('button', { class: 'shortcut', 'aria-label': `${command.label}: ${command.keys.map(written).join('')}. Change it.`, onclick: wait }, ...(command.keys.length ? command.keys.map(key => h('kbd', { 'aria-hidden': true }, written(key))) : ['none'])));
  };
  open('Keys', h('p', { class: 'empty' }, 'Choose a key to change it. 1 to 9 choose an object, the wheel zooms, the middle button moves the frame, the right button sets a negative click.'),
    h('div', { class: 'key-groups' }, ...[...groups].map(([name, commands]) => h('section', {}, h('h3', {}, name), ...commands.map(row)))),
    h('footer', { class: 'dialog-foot' }, h('button', { class: 'button', onclick: () => { keys.reset(); changed(); showKeys(keys, changed); } }, 'Restore all keys')));
}

/** @param {number} bytes */
const size = bytes => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

/**
 * Choose formats and write them; below, what was written before.
 * @param {import('./api.js').ProjectApi} api @param {import('./store.js').Store} store
 * @returns {Promise<() => void>} draws the list again after a change
 */
export async function showExports(api, store) {
  const groups = new Map();
  for (const format of store.project.export_formats) groups.set(format.group, [...(groups.get(format.group) ?? []), format]);
  const done = h('div', { class: 'exports', role: 'status' }), choices = h('div', { class: 'choices' });
  for (const [group, formats] of groups) {
    choices.append(h('fieldset', {}, h('legend', {}, group), ...formats.map((/** @type {any} */ { name, label }) =>
      h('label', { class: 'choice' }, h('input', { type: 'checkbox', value: name, checked: name === 'overlay' }), h('span', {}, label)))));
  }
  let shown = '';
  const last = Math.max(0, store.length - 1);
  const bound = (/** @type {string} */ label, /** @type {number} */ value) => h('input', { type: 'number', min: '0', max: String(last), value: String(value), 'aria-label': label });
  const from = bound('First frame', 0), to = bound('Last frame', last);
  const save = async () => {
    const formats = [...choices.querySelectorAll('input')].filter(input => input.checked).map(input => input.value);
    if (!formats.length) return toast('Choose at least one format.');
    await api.post('/exports', { formats, options: { from: Number(from.value), to: Number(to.value) } }).catch(error => toast(error.message));
    refresh();
  };
  const refresh = async () => {
    const { exports } = await api.get('/exports').catch(() => ({ exports: [] }));
    const job = store.jobs.find(each => each.kind === 'export' && each.state === 'running'), now = JSON.stringify([exports, job]);
    if (now === shown) return; // a link must not be replaced while it is pressed
    shown = now;
    const labels = new Map(store.project.export_formats.map((/** @type {any} */ each) => [each.name, each.label]));
    done.replaceChildren(...exports.reverse().map((/** @type {any} */ each) => exportRow(api, each, labels, job)));
  };
  open('Export', h('p', { class: 'empty' }, 'The files are written into the folder of the project, in the forms that the track command writes.'), choices,
    h('div', { class: 'range' }, 'Frames', from, 'to', to),
    h('footer', { class: 'dialog-foot' }, h('button', { class: 'button primary', onclick: save }, icon('export'), h('span', {}, 'Save'))), done);
  await refresh();
  return refresh;
}

/** @param {import('./api.js').ProjectApi} api @param {any} each @param {Map<any, any>} labels @param {any} job */
function exportRow(api, each, labels, job) {
  const running = each.state === 'queued' || each.state === 'running';
  const link = (/** @type {any} */ file) => file.folder
    ? h('li', {}, icon('folder'), h('span', {}, `${file.name}: ${file.count} images`))
    : h('li', {}, icon('export'), h('a', { href: `/api/v1${api.path}/exports/${each.id}/files/${encodeURIComponent(file.name)}`, download: file.name }, file.name), h('span', { class: 'facts' }, size(file.size)));
  return h('section', { class: 'export' },
    h('h3', {}, each.formats.map((/** @type {string} */ name) => labels.get(name) ?? name).join(', ')),
    running ? h('progress', { 'aria-label': 'Progress of the export', max: job?.total || 1, value: job ? job.done : 0 }) : null,
    each.error && h('p', { class: 'problem' }, each.error),
    each.state === 'done' && h('p', { class: 'facts' }, `Saved in ${each.folder}`),
    h('ul', { class: 'files' }, ...(each.files ?? []).map(link)));
}

/** The strips of the explain page, at full width. @param {any} strips @param {import('./store.js').Store} store */
export function showCurves(strips, store) {
  const drawn = (/** @type {string | null} */ text) => {
    if (!text) return null;
    const strip = h('div', { class: 'strips' });
    const found = new DOMParser().parseFromString(`<div xmlns="http://www.w3.org/1999/xhtml">${text}</div>`, 'application/xml');
    strip.append(...[...found.querySelectorAll('svg')].filter(svg => !svg.parentElement?.closest('svg')).map(svg => document.importNode(svg, true)));
    return strip;
  };
  const key = (/** @type {string} */ kind, /** @type {string} */ words) => h('span', {}, h('i', { class: `key ${kind}` }), words);
  open('Curves', h('h3', {}, 'Scene changes'),
    h('div', { class: 'legend' }, key('change', 'color difference'), key('level', `threshold (${strips.threshold})`), key('cut', 'cut'), ...(strips.has_concept ? [key('flag', 'concept query')] : [])),
    /** @type {Node} */ (drawn(strips.change) ?? h('p', { class: 'empty' }, 'Nothing is tracked yet.')),
    ...strips.objects.flatMap((/** @type {any} */ each) => [
      h('h3', {}, store.objects.get(each.object)?.name ?? `Object ${each.object}`),
      h('div', { class: 'legend' }, key('presence', 'object score'), key('quality', 'predicted IoU'), key('area', 'area'), ...(each.bank ? [key('keyframe', 'keyframes in the concept bank')] : [])),
      drawn(each.curves), drawn(each.bank)]).filter(Boolean)).classList.add('wide');
  byId('dialog').addEventListener('close', () => byId('dialog').classList.remove('wide'), { once: true });
}

/** Choose a film: recent projects, the files of the folder, or an upload. @param {(id: string) => void} opened */
export async function showStart(opened) {
  const start = byId('start');
  start.hidden = false;
  byId('app').hidden = true;
  document.title = 'Segment Concept';
  const { projects } = await get('/projects');
  const files = h('div', { class: 'files-list' }), bar = h('progress', { max: 1, value: 0, hidden: true, 'aria-label': 'Upload' });
  const begin = async (/** @type {any} */ film) => {
    try {
      opened((await post('/projects', film)).id);
    } catch (error) {
      toast(/** @type {Error} */ (error).message);
    }
  };
  const sent = async (/** @type {File | undefined} */ file) => {
    if (!file) return;
    bar.hidden = false;
    try {
      await begin({ upload: await upload(file, share => (bar.value = share)) });
    } catch (error) {
      toast(/** @type {Error} */ (error).message);
    }
    bar.hidden = true;
  };
  const input = h('input', { type: 'file', accept: 'video/*', class: 'visually-hidden', id: 'file', onchange: () => sent(input.files?.[0]) });
  const drop = h('div', { class: 'drop', ondragover: (/** @type {DragEvent} */ event) => event.preventDefault(),
    ondrop: (/** @type {DragEvent} */ event) => { event.preventDefault(); sent(event.dataTransfer?.files[0]); } },
  icon('film'), h('p', {}, 'Drop a film here'), input, h('label', { class: 'button', htmlFor: 'file' }, icon('upload'), h('span', {}, 'Choose a file')), bar);
  const entry = (/** @type {string} */ picture, /** @type {string} */ name, /** @type {string} */ more, /** @type {() => void} */ onclick) =>
    h('button', { class: 'entry', onclick }, icon(picture), h('span', { class: 'cut-short' }, name), h('span', { class: 'facts' }, more));
  const browse = async (/** @type {string} */ path) => {
    const found = await get(`/files?path=${encodeURIComponent(path)}`).catch(error => (toast(error.message), { path, entries: [] }));
    const inside = (/** @type {string} */ name) => (found.path ? `${found.path}/${name}` : name);
    files.replaceChildren(...(found.path ? [entry('back', 'Back', found.path, () => browse(found.path.split('/').slice(0, -1).join('/')))] : []),
      ...found.entries.map((/** @type {any} */ each) => each.kind === 'folder'
        ? entry('folder', each.name, '', () => browse(inside(each.name)))
        : entry(each.kind === 'video' ? 'film' : 'folder', each.name, each.kind === 'video' ? size(each.size) : 'images', () => begin({ path: inside(each.name) }))));
    if (!files.children.length) files.append(h('p', { class: 'empty' }, 'There is no film in this folder.'));
  };
  start.replaceChildren(h('div', { class: 'start-inner' },
    h('header', {}, icon('mark'), h('h1', {}, 'Segment Concept'), h('p', {}, 'Mark an object once and follow it through every cut of a film.')),
    drop, h('div', { class: 'start-columns' },
      h('section', {}, h('h2', {}, 'Projects'), projects.length
        ? h('div', { class: 'files-list' }, ...projects.map((/** @type {any} */ each) => entry('film', each.name, each.missing ? 'film is missing' : each.open ? 'open' : '', () => opened(each.id))))
        : h('p', { class: 'empty' }, 'Films that you open are listed here.')),
      h('section', {}, h('h2', {}, 'Folder'), files))));
  await browse('');
}
