// Commands by key and by button, and the state of the buttons and readouts.

import { showCurves, showExports, showKeys } from './dialogs.js';
import { byId, clamp, duration, setIcon, timecode } from './dom.js';
import { Keys, keyOf, written } from './keys.js';
import { KeyboardPointer } from './pointer.js';

const STEP = 1.25; // factor between two sizes of the brush
const VIEWS = /** @type {const} */ ({ overlay: 'outline', outline: 'matte', matte: 'overlay' });
const LOADING = /** @type {Record<string, string>} */ ({ starting: 'The tracker starts…', loading: 'The tracker loads its weights…', failed: 'The tracker has stopped' });

/** @param {string} command @param {(button: HTMLButtonElement) => void} change */
function eachButton(command, change) {
  document.querySelectorAll(`[data-command="${command}"]`).forEach(button => change(/** @type {HTMLButtonElement} */ (button)));
}

/** @param {string} command @param {boolean} on */
const press = (command, on) => eachButton(command, button => button.setAttribute('aria-pressed', String(on)));

export class Controls {
  /** @param {import('./page.js').Page} page */
  constructor(page) {
    this.page = page;
    this.store = page.store;
    this.keys = new Keys();
    this.pointer = new KeyboardPointer(page.stage.canvas, page.store);
    this.commands = this.makeCommands();
    this.listen();
    this.describe();
    this.store.on(['frame', 'table', 'tool', 'playing', 'job', 'project', 'objects', 'prompts', 'selection'], () => this.draw());
  }

  /** @returns {Record<string, () => void>} */
  makeCommands() {
    const { page, store } = this, { edits, stage } = page;
    const step = (/** @type {number} */ by) => () => page.goTo(store.frame + by);
    const toggled = (/** @type {() => void} */ change) => () => { change(); store.changed('tool'); };
    const brush = (/** @type {number} */ factor) => toggled(() => (store.brush = clamp(Math.round(store.brush * factor), 2, 200)));
    const shown = () => store.shotAt(store.frame);
    return {
      play: () => page.play(), previous: step(-1), next: step(1), 'previous-10': step(-10), 'next-10': step(10),
      'previous-cut': () => page.toCut(-1), 'next-cut': () => page.toCut(1),
      first: () => page.goTo(0), last: () => page.goTo(store.length - 1),
      click: () => page.use('click'), box: () => page.use('box'), brush: () => page.use('brush'), eraser: () => page.use('eraser'),
      pointer: () => { stage.crosshair = !this.pointer.on; this.pointer.toggle(); },
      negative: toggled(() => { store.negative = !store.negative; if (store.negative) store.tool = 'click'; }),
      smaller: brush(1 / STEP), larger: brush(STEP), add: () => page.select(0), clear: () => edits.clear(),
      undo: () => edits.journal('undo'), redo: () => edits.journal('redo'),
      track: () => edits.track('forward'), 'track-backward': () => edits.track('backward'), 'track-both': () => edits.track('both'),
      stop: () => (store.job && !page.tools.gesture ? edits.stop() : page.tools.abandon()), lock: () => edits.lock(store.selected),
      'next-doubt': () => page.toDoubt(1), 'previous-doubt': () => page.toDoubt(-1),
      confirm: () => edits.decide(shown(), 'confirm'), deny: () => edits.decide(shown(), 'deny'),
      fit: () => stage.fit(), hide: toggled(() => (store.masksHidden = !store.masksHidden)),
      view: toggled(() => (store.view = VIEWS[store.view])), sound: toggled(() => (page.video.muted = !page.video.muted)),
      export: async () => { if (store.open) page.refreshExports = await showExports(page.project, store); },
      help: () => showKeys(this.keys, () => this.describe()),
    };
  }

  listen() {
    const { page, store } = this, number = byId('frame-number'), brush = byId('brush-size').querySelector('input');
    document.addEventListener('keydown', event => this.pressed(event));
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-command]'))) {
      button.addEventListener('click', event => {
        this.commands[button.dataset.command ?? '']();
        // After the pointer has chosen a command, keys belong to the stage again.
        if (event.detail && store.open && !byId('dialog').open) page.stage.canvas.focus({ preventScroll: true });
      });
    }
    number.addEventListener('change', () => page.goTo(Number(number.value) || 0));
    number.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && page.stage.canvas.focus());
    brush.addEventListener('input', () => { store.brush = Number(brush.value); store.changed('tool'); });
    byId('curves').addEventListener('click', () => page.project.get('/strips').then(strips => showCurves(strips, store)).catch(error => page.fail(error)));
    byId('explain-toggle').addEventListener('click', () => this.showExplanation(byId('app').classList.contains('explain-closed')));
    this.showExplanation(innerWidth > 1100);
  }

  /** @param {boolean} shown */
  showExplanation(shown) {
    byId('app').classList.toggle('explain-closed', !shown);
    byId('explain-toggle').setAttribute('aria-expanded', String(shown));
    this.store.changed('frame');
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target), { store } = this;
    if (!store.open || byId('dialog').open || byId('app').hidden || target instanceof HTMLInputElement) return;
    const key = keyOf(event), card = /** @type {HTMLElement | null} */ (target.closest('[data-card]'));
    if (target === this.page.stage.canvas && this.pointer.takes(event)) {
      this.page.stage.crosshair = this.pointer.on;
      return event.preventDefault();
    }
    if (target.closest('button, a') && (key === 'Space' || (key === 'Enter' && !card))) return;
    const digit = /^[1-9]$/.test(key) ? Number(key) : 0, command = this.keys.find(key);
    if (!digit && !command) return;
    event.preventDefault();
    if (digit) this.page.select(digit);
    else if (card && (command === 'confirm' || command === 'deny')) {
      this.page.edits.decide(store.shots.find(shot => shot.first === Number(card.dataset.card)) ?? null, command);
    } else this.commands[command ?? '']();
  }

  /** Write the keys of the commands into their tips. */
  describe() {
    for (const { id, keys } of this.keys.commands) {
      eachButton(id, button => {
        const name = button.getAttribute('aria-label') ?? button.textContent?.trim() ?? '';
        button.title = keys.length ? `${name} (${written(keys[0])})` : name;
        if (keys.length) button.setAttribute('aria-keyshortcuts', keys.map(key => key.replace('Ctrl', 'Control')).join(' '));
      });
    }
  }

  draw() {
    const { store, page } = this;
    if (!store.open) return;
    const { project, job } = store, { video } = project;
    for (const tool of ['click', 'box', 'brush', 'eraser']) press(tool, store.tool === tool);
    press('negative', store.negative);
    press('hide', store.masksHidden);
    press('lock', !!store.selected && store.isLocked(store.selected, store.frame));
    press('sound', !page.video.muted);
    eachButton('undo', button => (button.disabled = !project.undo));
    eachButton('redo', button => (button.disabled = !project.redo));
    eachButton('clear', button => (button.disabled = !store.promptsOn(store.frame).has(store.selected)));
    eachButton('play', button => { setIcon(button, store.playing ? 'pause' : 'play'); button.setAttribute('aria-label', store.playing ? 'Pause' : 'Play'); });
    eachButton('sound', button => { setIcon(button, page.video.muted ? 'mute' : 'sound'); button.hidden = !video.sound || !page.player?.asVideo; });
    for (const command of ['track', 'track-backward', 'track-both']) eachButton(command, button => (button.hidden = !!job));
    eachButton('stop', button => (button.hidden = !job));
    this.drawReadouts();
    this.drawProgress();
    this.drawStage();
    const banner = byId('banner'), text = page.lost || project.trouble || project.read_only || (project.tracker.state === 'failed' && project.tracker.message) || '';
    banner.hidden = !text;
    if (banner.textContent !== text) banner.textContent = text;
  }

  drawReadouts() {
    const { store } = this, { project } = store, { video } = project, number = byId('frame-number');
    byId('film-name').textContent = byId('film-name').title = project.name;
    const rate = Number(video.rate ?? 0).toFixed(2).replace(/\.00$/, '');
    byId('film-facts').textContent = [`${video.width} × ${video.height}`, `${rate} fps`, `${store.length} frames${store.table.complete ? '' : ' read'}`, project.recipe].join(' · ');
    if (document.activeElement !== number) number.value = String(store.frame);
    byId('frame-total').textContent = `/ ${Math.max(0, store.length - 1)}`;
    byId('timecode').textContent = store.length ? timecode(store.table.times[store.frame]) : '';
  }

  drawProgress() {
    const { job, project } = this.store, status = byId('status'), progress = byId('progress');
    progress.hidden = !job;
    status.textContent = LOADING[project.tracker.state] ?? (!job ? 'Saved' : job.state === 'queued' ? 'Waiting to track' : 'Tracking');
    if (!job) return;
    progress.querySelector('i').style.width = `${job.total ? (100 * job.done) / job.total : 0}%`;
    progress.querySelector('span').textContent = [job.total ? `${job.done} of ${job.total} frames` : 'waiting',
      job.fps ? `${job.fps.toFixed(1)} frames/s` : '', job.eta ? `${duration(job.eta)} left` : ''].filter(Boolean).join(' · ');
  }

  drawStage() {
    const { store } = this, size = byId('brush-size'), hint = byId('hint');
    byId('stage').dataset.tool = store.tool;
    size.hidden = store.tool !== 'brush' && store.tool !== 'eraser';
    size.querySelector('input').value = String(store.brush);
    size.querySelector('output').textContent = `${store.brush} px`;
    hint.hidden = store.objects.size > 0 || store.playing;
    hint.textContent = matchMedia('(pointer: coarse)').matches ? 'Tap the object that you want to follow.' : 'Rest the pointer on an object to see its outline. Click to mark it.';
  }
}
