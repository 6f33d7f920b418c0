// Starts the page: opens a project, connects the modules, and carries out the commands.

import { ApiError, ProjectApi, enter, follow, newOp } from './api.js';
import { FrameTable, Player } from './clock.js';
import { showCurves, showExports, showKeys, showStart, toast } from './dialogs.js';
import { byId, clamp, duration, setIcon, timecode } from './dom.js';
import { Keys, keyOf, written } from './keys.js';
import { decodeMasks, encodeRuns } from './masks.js';
import { Media } from './media.js';
import { ExplainPanel, ObjectsPanel } from './panels.js';
import { ShotStrip } from './shots.js';
import { Stage } from './stage.js';
import { Store } from './store.js';
import { Timeline } from './timeline.js';
import { Tools } from './tools.js';

const REST = 60; // milliseconds on one frame after which the server prepares it for previews
const OFTEN = 1000; // milliseconds between two requests for the shots while a job runs
const WIDE = 640; // width from which scrubbing shows smaller stills

class Page {
  constructor() {
    const store = (this.store = new Store());
    this.keys = new Keys();
    this.video = /** @type {HTMLVideoElement} */ (byId('video'));
    this.stage = new Stage(byId('stage'), store);
    const seek = (/** @type {number} */ frame) => this.goTo(frame);
    const select = (/** @type {number} */ id) => this.select(id);
    const thumbnail = (/** @type {number} */ frame, /** @type {number} */ object) => /** @type {Media} */ (this.media).thumbnail(frame, object);
    this.tools = new Tools(this.stage, store, {
      click: click => this.addClick(click),
      box: box => this.prompt({ points: [], box }),
      paint: runs => this.paint(runs),
      preview: (prompt, signal) => this.preview(prompt, signal),
      select,
    });
    this.timeline = new Timeline({ canvas: byId('timeline'), heads: byId('heads') }, store, { seek: (frame, rough) => this.goTo(frame, rough), select });
    this.shots = new ShotStrip(store, { seek: frame => this.fix(frame), decide: (shot, verdict) => this.decide(shot, verdict),
      mark: shot => { this.timeline.marked = shot; this.timeline.draw(); }, thumbnail });
    new ObjectsPanel(store, { edit: edit => this.edit(edit), select, lock: id => this.lock(id), redraw: () => { store.changed('objects'); this.stage.redraw(); } });
    new ExplainPanel(store, { explain: frame => this.project.get(`/explain/${frame}`), seek, thumbnail });
    /** Edits are sent one after another, so that each knows the revision of the one before. @type {Promise<any>} */
    this.queue = Promise.resolve();
    this.lastShots = 0;
    this.direction = 1;
    this.commands = this.makeCommands();
    this.listen();
    this.describe();
  }

  /** @returns {ProjectApi} */
  get project() {
    if (!this.api) throw new ApiError('Open a film first.', 400);
    return this.api;
  }

  // Opening

  /** @param {string} id @param {number} frame */
  async open(id, frame = 0) {
    this.source?.close();
    const { store } = this, api = (this.api = new ProjectApi(id));
    const project = await api.load();
    store.table = new FrameTable();
    store.lanes.clear();
    store.queries.clear();
    store.load(project);
    this.media = new Media(api, store, project.event);
    this.player = new Player(store.table, this.video, this.media, {
      show: (index, picture) => this.present(index, picture),
      ended: () => this.pause(),
      waiting: slow => this.chip(slow ? 'The film is loading…' : ''),
    });
    this.player.asVideo = !!project.video.mime && this.video.canPlayType(project.video.mime) !== '';
    if (this.player.asVideo) this.video.src = api.videoUrl;
    byId('start').hidden = true;
    byId('app').hidden = false;
    document.title = `${project.name} – Segment Concept`;
    this.stage.resize();
    this.stage.fit();
    await this.readTable();
    this.goTo(Math.min(frame, Math.max(0, store.length - 1)));
    await Promise.all(project.objects.map(async (/** @type {any} */ { id }) => store.setLane(id, await api.lane(id))));
    await this.readShots();
    this.source = follow(api, project.event, {
      event: (name, data, key) => this.heard(name, data, key),
      connected: now => this.connection(now),
    });
  }

  /** Read the times of the frames that are known by now. */
  async readTable() {
    const { store } = this, { times, complete, version } = await this.project.table(store.table.length);
    if (version !== (this.version ?? version)) {
      this.version = version;
      store.table.length = 0;
      return this.readTable();
    }
    this.version = version;
    const first = store.table.length === 0;
    store.table.set(store.table.length, times);
    store.table.complete = complete;
    store.changed('table', 'project', ...(first ? /** @type {const} */ (['frame']) : []));
  }

  async readShots() {
    this.lastShots = Date.now();
    this.store.setShots(await this.project.get('/shots'));
  }

  /** Ask for the shots soon, and not too often. */
  refreshShots() {
    this.shotsTimer ??= setTimeout(() => {
      this.shotsTimer = undefined;
      this.readShots().catch(() => {});
    }, Math.max(50, this.lastShots + OFTEN - Date.now()));
  }

  // Events of the server

  /** @param {string} name @param {any} data @param {string} key */
  heard(name, data, key) {
    const { store, media } = this;
    if (name === 'edit') {
      media?.touch(key, null);
      store.edited(data);
      this.refreshShots();
      this.showMasks();
    } else if (name === 'frame') {
      media?.touch(key, data.i);
      store.addRecord(data);
      if (data.i === store.frame) this.showMasks(true);
      if (store.job) this.refreshShots();
    } else if (name === 'states') data.objects.forEach((/** @type {any} */ each) => store.setStates(each));
    else if (name === 'job') this.heardJob(data);
    else if (name === 'progress') {
      const job = store.jobs.find(each => each.id === data.job);
      if (job) store.setJob({ ...job, ...data });
      if (job?.kind === 'export') this.refreshExports?.();
    } else if (name === 'table') this.readTable().catch(() => {});
    else if (name === 'reset') this.open(store.project.id, store.frame).catch(error => this.fail(error));
    else if (name === 'error') toast(data.error);
    else if (name === 'export') this.refreshExports?.();
    else {
      if (name === 'video') store.project.video = data;
      if (name === 'tracker') store.project.tracker = data;
      if (name === 'project') Object.assign(store.project, data);
      store.changed('project');
    }
  }

  /** @param {import('./store.js').Job} job */
  heardJob(job) {
    this.store.setJob(job);
    if (job.state === 'failed') toast(job.error ?? 'The job failed.');
    if (job.kind === 'export') this.refreshExports?.();
    this.refreshShots();
  }

  /** @param {boolean} now */
  connection(now) {
    clearTimeout(this.lostTimer);
    if (now) return this.banner('');
    this.lostTimer = setTimeout(() => this.banner('The server does not answer. Your work is saved; the page connects again by itself.'), 1500);
  }

  // Frames

  /** Show a frame, paused. @param {number} frame @param {boolean} rough whether the next frame follows at once */
  async goTo(frame, rough = false) {
    const { store, stage, media } = this;
    if (!store.open || !store.length || !media) return;
    if (store.playing) this.pause();
    const index = clamp(frame, 0, store.length - 1);
    if (index !== store.frame) {
      this.direction = index < store.frame ? -1 : 1;
      stage.preview = null;
      this.tools.forget();
    }
    store.frame = index;
    store.changed('frame');
    const token = (this.wanted = {});
    const small = rough && store.size.width > WIDE && !media.stills.values.has(index);
    try {
      const [still, masks] = await Promise.all([small ? this.project.still(index, 480) : media.get(index), media.masksOf(index).catch(() => [])]);
      if (token !== this.wanted || store.playing) return;
      stage.picture = still;
      stage.masks = masks;
      byId('stage').dataset.frame = String(index);
      stage.redraw();
      this.chip('');
    } catch (error) {
      if (token === this.wanted) this.chip(/** @type {Error} */ (error).message);
    }
    clearTimeout(this.restTimer);
    this.restTimer = setTimeout(() => token === this.wanted && this.rest(index, small), REST);
  }

  /** @param {number} index @param {boolean} small */
  rest(index, small) {
    const { p } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    if (p) history.replaceState(null, '', `#p=${p}&f=${index}`);
    if (small) return this.goTo(index);
    this.media?.prefetch(index, this.direction);
    this.project.post('/look', { frame: index }).catch(() => {});
  }

  /** Show the masks of the frame again after they changed. @param {boolean} fresh whether the tracker made them now */
  async showMasks(fresh = false) {
    const { store, stage, media } = this, frame = store.frame;
    const masks = await media?.masksOf(frame).catch(() => null);
    if (!masks || frame !== store.frame) return;
    stage.masks = masks;
    stage.painting = null;
    if (fresh) stage.preview = null;
    stage.redraw();
  }

  /** Show a frame while playing. @param {number} index @param {CanvasImageSource} picture */
  async present(index, picture) {
    const { store, stage, media } = this;
    store.frame = index;
    stage.picture = picture;
    stage.masks = [];
    byId('stage').dataset.frame = String(index);
    store.changed('frame');
    for (let next = index; next < Math.min(index + 6, store.length); next++) media?.masksOf(next).catch(() => {});
    const masks = await media?.masksOf(index).catch(() => null);
    if (masks && store.frame === index) stage.masks = masks;
    stage.draw();
  }

  play() {
    const { store, player } = this;
    if (!store.open || !player) return;
    if (store.playing) return this.pause();
    this.tools.abandon();
    store.playing = true;
    store.changed('playing');
    player.play(store.frame >= store.length - 1 ? 0 : store.frame);
  }

  pause() {
    this.player?.pause();
    this.store.playing = false;
    this.store.changed('playing', 'frame');
    this.chip('');
    this.goTo(this.store.frame);
  }

  // Prompts and edits

  /** @param {{clicks: import('./tools.js').Click[], box: number[] | null}} prompt @param {AbortSignal} signal */
  async preview({ clicks, box }, signal) {
    const { store } = this, { width, height } = store.size;
    if (store.project.trouble || store.project.read_only || store.project.tracker.state !== 'ready') return null;
    const points = clicks.map(({ x, y, positive }) => [x, y, positive ? 1 : 0]);
    const buffer = await this.project.preview({ frame: store.frame, object: store.selected || null, points, box }, signal);
    return decodeMasks(buffer, width, height)[0] ?? null;
  }

  /** @param {import('./tools.js').Click} click */
  addClick(click) {
    const { store } = this, before = store.promptsOn(store.frame).get(store.selected);
    const known = this.stage.masks.some(mask => mask.id === store.selected && mask.runs.length > 1);
    if (!click.positive && !before && !known) return toast('Mark the object with a positive click first.');
    const points = [...(before?.clicks ?? []), click].map(({ x, y, positive }) => [x, y, positive ? 1 : 0]);
    this.prompt({ points, box: before?.box ?? null });
  }

  /** @param {{points: number[][], box: number[] | null}} prompt */
  prompt(prompt) {
    const { store } = this, object = store.selected || store.nextId();
    return this.edit({ type: 'prompt', object, frame: store.frame, ...prompt }, object);
  }

  /** @param {number[]} runs */
  paint(runs) {
    const { store } = this, object = store.selected || store.nextId(), frame = store.frame, op = newOp();
    if (runs.length < 2) return toast('The mask is empty. To remove the object from this frame, deny the shot instead.');
    this.change(() => this.project.paint(store.rev, frame, object, encodeRuns(runs), op), object);
  }

  /** Send an edit after those before it. @param {object} edit @param {number} [object] chosen afterwards */
  edit(edit, object) {
    const op = newOp();
    return this.change(() => this.project.edit(this.store.rev, edit, op), object);
  }

  /** @param {() => Promise<any>} send @param {number} [object] */
  change(send, object) {
    const { store } = this;
    this.queue = this.queue.then(async () => {
      try {
        const reply = await send().catch(async error => {
          if (error.status !== 409) throw error;
          store.edited(await this.project.load()); // another tab was quicker
          return send();
        });
        store.edited(reply);
        if (object) this.select(object);
        this.refreshShots();
      } catch (error) {
        this.stage.preview = this.stage.painting = null;
        this.stage.redraw();
        this.fail(/** @type {Error} */ (error));
      }
    });
    return this.queue;
  }

  /** @param {number} id */
  select(id) {
    this.store.selected = this.store.objects.has(id) ? id : 0;
    this.tools.forget();
    this.store.changed('selection');
  }

  /** @param {number} object */
  lock(object) {
    const { store } = this, type = store.isLocked(object, store.frame) ? 'unlock' : 'lock';
    if (object) this.edit({ type, object, from: store.frame, to: store.frame });
    else toast('Choose an object first.');
  }

  /** Go to a frame to correct it there. @param {number} frame */
  fix(frame) {
    this.goTo(frame);
    if (this.store.tool !== 'box') this.use('click');
  }

  /** @param {import('./store.js').Shot | null} shot @param {string} verdict */
  async decide(shot, verdict) {
    const { store } = this, card = shot && store.stateOfShot(shot).card;
    if (!shot || !card) return toast('Nothing is tracked in this shot yet.');
    const same = card.verdict === (verdict === 'confirm' ? 'confirmed' : 'denied');
    await this.edit({ type: same ? 'undecide' : verdict, object: card.object, from: shot.first, to: shot.last });
    await this.readShots().catch(() => {});
    const next = store.shots.map(each => store.stateOfShot(each)).filter(each => each.doubtful)
      .sort((a, b) => (b.card?.doubt ?? 0) - (a.card?.doubt ?? 0))[0];
    if (next?.card && !same) this.goTo(next.card.best);
  }

  /** @param {'forward' | 'backward' | 'both'} direction */
  async track(direction) {
    const { store } = this;
    if (!store.objectList().some(object => object.prompts.length)) return toast('Mark an object first: rest the pointer on it and click.');
    await this.queue;
    try {
      store.setJob(await this.project.post('/jobs', { kind: 'track', from: store.frame, to: null, direction, objects: null, again: false }));
    } catch (error) {
      this.fail(/** @type {Error} */ (error));
    }
  }

  stop() {
    for (const job of this.store.jobs.filter(each => each.kind === 'track')) {
      this.project.stop(job.id).then(reply => this.store.setJob(reply), error => this.fail(error));
    }
  }

  /** @param {number} step */
  toDoubt(step) {
    const { store } = this, frames = [...new Set(store.doubts.map(doubt => doubt.frame))].sort((a, b) => a - b);
    const found = step > 0 ? frames.find(frame => frame > store.frame) : frames.reverse().find(frame => frame < store.frame);
    if (found === undefined) toast('There is no further doubtful frame in this direction.', 'note');
    else this.goTo(found);
  }

  /** @param {number} step */
  toCut(step) {
    const { store } = this, cuts = [0, ...store.cuts, store.length - 1];
    const found = step > 0 ? cuts.find(frame => frame > store.frame) : cuts.reverse().find(frame => frame < store.frame);
    if (found !== undefined) this.goTo(found);
  }

  /** @param {import('./store.js').Store['tool']} tool */
  use(tool) {
    this.tools.abandon();
    this.store.tool = tool;
    this.store.changed('tool');
  }

  /** @param {string} way */
  journal(way) {
    const op = newOp();
    this.change(() => this.project.post(`/${way}`, { op, rev: this.store.rev })).then(() => this.showMasks(true));
  }

  // Commands, keys and controls

  /** @returns {Record<string, () => void>} */
  makeCommands() {
    const { store, stage } = this, step = (/** @type {number} */ by) => () => this.goTo(store.frame + by);
    const brush = (/** @type {number} */ factor) => () => { store.brush = clamp(Math.round(store.brush * factor), 2, 200); store.changed('tool'); stage.redraw(); };
    const toggled = (/** @type {() => void} */ change) => () => { change(); store.changed('tool'); stage.redraw(); };
    return {
      play: () => this.play(), previous: step(-1), next: step(1), 'previous-10': step(-10), 'next-10': step(10),
      'previous-cut': () => this.toCut(-1), 'next-cut': () => this.toCut(1),
      first: () => this.goTo(0), last: () => this.goTo(store.length - 1),
      click: () => this.use('click'), box: () => this.use('box'), brush: () => this.use('brush'), eraser: () => this.use('eraser'),
      negative: toggled(() => { store.negative = !store.negative; if (store.negative) store.tool = 'click'; }),
      smaller: brush(1 / 1.25), larger: brush(1.25), add: () => this.select(0),
      clear: () => store.promptsOn(store.frame).has(store.selected) && this.edit({ type: 'clear', object: store.selected, frame: store.frame }),
      undo: () => store.project?.undo && this.journal('undo'), redo: () => store.project?.redo && this.journal('redo'),
      track: () => this.track('forward'), 'track-backward': () => this.track('backward'), 'track-both': () => this.track('both'),
      stop: () => this.tools.gesture || stage.preview ? this.tools.abandon() : this.stop(),
      lock: () => this.lock(store.selected),
      'next-doubt': () => this.toDoubt(1), 'previous-doubt': () => this.toDoubt(-1),
      confirm: () => this.decide(store.shotAt(store.frame), 'confirm'), deny: () => this.decide(store.shotAt(store.frame), 'deny'),
      fit: () => stage.fit(), hide: toggled(() => (store.masksHidden = !store.masksHidden)),
      view: toggled(() => (store.view = /** @type {any} */ ({ overlay: 'outline', outline: 'matte', matte: 'overlay' })[store.view])),
      export: async () => { if (store.open) this.refreshExports = await showExports(this.project, store); },
      help: () => showKeys(this.keys, () => this.describe()),
      sound: toggled(() => (this.video.muted = !this.video.muted)),
    };
  }

  listen() {
    const { store } = this, bar = { number: byId('frame-number'), brush: byId('brush-size').querySelector('input') };
    document.addEventListener('keydown', event => this.pressed(event));
    for (const button of document.querySelectorAll('[data-command]')) {
      button.addEventListener('click', event => {
        this.commands[/** @type {HTMLElement} */ (button).dataset.command ?? '']();
        if (/** @type {MouseEvent} */ (event).detail && store.open && !byId('dialog').open) byId('stage').focus({ preventScroll: true });
      });
    }
    bar.number.addEventListener('change', () => this.goTo(Number(bar.number.value) || 0));
    bar.number.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && byId('stage').focus());
    bar.brush.addEventListener('input', () => { store.brush = Number(bar.brush.value); store.changed('tool'); });
    byId('curves').addEventListener('click', () => this.project.get('/strips').then(strips => showCurves(strips, store)).catch(error => this.fail(error)));
    byId('explain-toggle').addEventListener('click', () => {
      const closed = byId('app').classList.toggle('explain-closed');
      byId('explain-toggle').setAttribute('aria-expanded', String(!closed));
      store.changed('frame');
    });
    byId('home').addEventListener('click', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.pause();
      history.replaceState(null, '', location.pathname);
      showStart(id => openProject(this, id)).catch(error => this.fail(error));
    });
    store.on(['frame', 'table', 'tool', 'playing', 'job', 'project', 'objects', 'prompts', 'selection'], () => this.drawControls());
    store.on(['prompts', 'selection', 'objects'], () => this.stage.redraw());
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target), { store } = this;
    if (!store.open || byId('dialog').open || byId('app').hidden) return;
    if (target instanceof HTMLInputElement && target.type !== 'checkbox') return;
    const key = keyOf(event), onButton = target.closest('button, a'), card = target.closest('[data-card]');
    if (onButton && !card && (key === 'Enter' || key === 'Space')) return;
    const digit = /^[1-9]$/.test(key) ? Number(key) : 0, command = this.keys.find(key);
    if (digit) this.select(digit);
    else if (command) {
      if (card && (command === 'confirm' || command === 'deny')) {
        const first = Number(/** @type {HTMLElement} */ (card).dataset.card);
        this.decide(store.shots.find(shot => shot.first === first) ?? null, command);
      } else this.commands[command]();
    } else return;
    event.preventDefault();
  }

  /** Write the keys of the commands into their tips. */
  describe() {
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-command]'))) {
      const key = this.keys.keyFor(button.dataset.command ?? ''), name = button.getAttribute('aria-label') ?? button.textContent?.trim() ?? '';
      button.title = key ? `${name} (${written(key)})` : name;
      if (key) button.setAttribute('aria-keyshortcuts', key.replace('Ctrl', 'Control'));
    }
  }

  drawControls() {
    const { store } = this;
    if (!store.open) return;
    const { project, job } = store, { video } = project;
    const set = (/** @type {string} */ command, /** @type {(button: HTMLButtonElement) => void} */ change) =>
      document.querySelectorAll(`[data-command="${command}"]`).forEach(button => change(/** @type {HTMLButtonElement} */ (button)));
    const pressed = (/** @type {string} */ command, /** @type {boolean} */ on) => set(command, button => button.setAttribute('aria-pressed', String(on)));
    for (const tool of ['click', 'box', 'brush', 'eraser']) pressed(tool, store.tool === tool);
    pressed('negative', store.negative);
    pressed('hide', store.masksHidden);
    pressed('lock', !!store.selected && store.isLocked(store.selected, store.frame));
    set('undo', button => (button.disabled = !project.undo));
    set('redo', button => (button.disabled = !project.redo));
    set('clear', button => (button.disabled = !store.promptsOn(store.frame).has(store.selected)));
    set('play', button => { setIcon(button, store.playing ? 'pause' : 'play'); button.setAttribute('aria-label', store.playing ? 'Pause' : 'Play'); });
    set('sound', button => { setIcon(button, this.video.muted ? 'mute' : 'sound'); button.hidden = !video.sound || !this.player?.asVideo; pressed('sound', !this.video.muted); });
    for (const command of ['track', 'track-backward', 'track-both']) set(command, button => (button.hidden = !!job));
    set('stop', button => (button.hidden = !job));
    byId('film-name').textContent = project.name;
    byId('film-name').title = project.name;
    const frames = store.table.complete ? `${store.length} frames` : `${store.length} frames read`;
    byId('film-facts').textContent = `${video.width} × ${video.height} · ${Number(video.rate ?? 0).toFixed(2).replace(/\.00$/, '')} fps · ${frames} · ${project.recipe}`;
    const number = byId('frame-number');
    if (document.activeElement !== number) number.value = String(store.frame);
    byId('frame-total').textContent = `/ ${Math.max(0, store.length - 1)}`;
    byId('timecode').textContent = store.length ? timecode(store.table.times[store.frame]) : '';
    this.drawProgress();
    byId('stage').dataset.tool = store.tool;
    const paints = store.tool === 'brush' || store.tool === 'eraser', size = byId('brush-size');
    size.hidden = !paints;
    size.querySelector('input').value = String(store.brush);
    size.querySelector('output').textContent = `${store.brush} px`;
    const hint = byId('hint'), none = !store.objects.size && !store.playing;
    hint.hidden = !none;
    hint.textContent = matchMedia('(pointer: coarse)').matches ? 'Tap the object that you want to follow.' : 'Rest the pointer on an object to see its outline. Click to mark it.';
    this.banner(this.lost ?? project.trouble ?? project.read_only ?? (project.tracker.state === 'failed' ? project.tracker.message : '') ?? '');
  }

  drawProgress() {
    const { job, project } = this.store, status = byId('status'), progress = byId('progress');
    progress.hidden = !job;
    const loading = { starting: 'The tracker starts…', loading: 'The tracker loads its weights…' };
    if (!job) {
      status.textContent = /** @type {any} */ (loading)[project.tracker.state] ?? 'Saved';
      return;
    }
    const share = job.total ? job.done / job.total : 0;
    progress.querySelector('i').style.width = `${100 * share}%`;
    const rest = [job.total ? `${job.done} of ${job.total} frames` : 'waiting', job.fps ? `${job.fps.toFixed(1)} frames/s` : '', job.eta ? `${duration(job.eta)} left` : ''];
    progress.querySelector('span').textContent = rest.filter(Boolean).join(' · ');
    status.textContent = job.state === 'queued' ? 'Waiting to track' : 'Tracking';
  }

  /** A word over the stage. @param {string} text */
  chip(text) {
    const chip = byId('chip');
    chip.hidden = !text;
    chip.textContent = text;
  }

  /** A sentence that stays. @param {string} text */
  banner(text) {
    const banner = byId('banner');
    banner.hidden = !text;
    if (banner.textContent !== text) banner.textContent = text;
  }

  /** @param {Error} error */
  fail(error) {
    if (error instanceof ApiError && error.status === 401) this.banner('This page is no longer allowed to use the server. Open the address that the command printed.');
    else toast(error.message);
  }
}

/** @param {Page} page @param {string} id @param {number} [frame] */
async function openProject(page, id, frame = 0) {
  history.replaceState(null, '', `#p=${id}`);
  try {
    await page.open(id, frame);
  } catch (error) {
    page.fail(/** @type {Error} */ (error));
  }
}

async function start() {
  const page = new Page(), { t, p, f } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (t) {
    history.replaceState(null, '', p ? `#p=${p}` : location.pathname);
    await enter(t);
  }
  if (p) await openProject(page, p, Number(f) || 0);
  else await showStart(id => openProject(page, id));
  addEventListener('hashchange', () => location.reload());
  return page;
}

start().catch(error => {
  const text = error.status === 401 ? 'Open the address that the command printed: it lets this page use the server.' : error.message;
  byId('banner').textContent = text;
  byId('banner').hidden = false;
});
