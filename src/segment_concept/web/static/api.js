// Calls to the server: commands, masks, stills, and the stream of events.

const BASE = '/api/v1';
const BUSY = 200; // milliseconds before a call is repeated that the server was too busy for
const TRIES = 25;

/** The server refused, or did not answer (`status` 0). The message is a sentence for the reader. */
export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function call(path, options = {}) {
  for (let left = TRIES; ; left--) {
    let response;
    try {
      response = await fetch(BASE + path, options);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ApiError('The server does not answer. Your work is saved; start the command again if it was stopped.', 0);
    }
    if (response.ok) return response;
    if (response.status === 429 && left && !options.signal) {
      await new Promise(done => setTimeout(done, BUSY));
      continue;
    }
    const reply = await response.json().catch(() => ({}));
    throw new ApiError(reply.error ?? `The server replied with status ${response.status}.`, response.status);
  }
}

/** @param {string} method @param {string} path @param {any} body @param {AbortSignal} [signal] */
function send(method, path, body, signal) {
  const raw = body instanceof Uint8Array || body instanceof Blob;
  const type = raw ? 'application/octet-stream' : 'application/json';
  return call(path, { method, signal, headers: { 'Content-Type': type }, body: raw ? /** @type {BodyInit} */ (body) : JSON.stringify(body) });
}

/** @param {string} path @returns {Promise<any>} */
export const get = async path => (await call(path)).json();
/** @param {string} path @param {any} [body] @param {AbortSignal} [signal] @returns {Promise<any>} */
export const post = async (path, body = {}, signal) => (await send('POST', path, body, signal)).json();

/** A name that no other command has. */
export const newOp = () => crypto.randomUUID();

/** Exchange the token of the address for a cookie. @param {string} token */
export async function enter(token) {
  await call('/session', { method: 'POST', body: '{}',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` } });
}

/** Everything that concerns one project. */
export class ProjectApi {
  /** @param {string} id */
  constructor(id) {
    this.path = `/projects/${id}`;
    this.videoUrl = `${BASE}${this.path}/video`;
  }

  load() {
    return get(this.path);
  }

  /** @param {string} path */
  get(path) {
    return get(this.path + path);
  }

  /** @param {string} path @param {any} [body] */
  post(path, body) {
    return post(this.path + path, body);
  }

  /** @param {string} job */
  async stop(job) {
    return (await send('DELETE', `${this.path}/jobs/${job}`, {})).json();
  }

  /** Times of the frames from one on. @param {number} from */
  async table(from) {
    const response = await call(`${this.path}/table?from=${from}`);
    return {
      times: new Float64Array(await response.arrayBuffer()),
      complete: response.headers.get('X-Complete') === '1',
      version: Number(response.headers.get('X-Version') ?? 0),
    };
  }

  /** @param {number} index @param {160 | 480 | 'full'} width */
  stillUrl(index, width) {
    return `${BASE}${this.path}/frames/${index}.jpg?w=${width}`;
  }

  /** @param {number} index @param {160 | 480 | 'full'} width @param {AbortSignal} [signal] */
  async still(index, width, signal) {
    const response = await call(`${this.path}/frames/${index}.jpg?w=${width}`, { signal });
    return createImageBitmap(await response.blob());
  }

  /** Masks of a frame in the form of `decodeMasks`. @param {number} index @param {string} key changes when the masks do */
  async masks(index, key) {
    return (await call(`${this.path}/masks/${index}?v=${encodeURIComponent(key)}`)).arrayBuffer();
  }

  /** Four bytes for each frame: state, presence, score, flags. @param {number} object @param {number} from */
  async lane(object, from = 0) {
    return new Uint8Array(await (await call(`${this.path}/timeline?object=${object}&from=${from}`)).arrayBuffer());
  }

  /** @param {any} prompt @param {AbortSignal} signal */
  async preview(prompt, signal) {
    return (await send('POST', `${this.path}/preview`, prompt, signal)).arrayBuffer();
  }

  /** @param {number} rev @param {object} edit @param {string} op */
  edit(rev, edit, op) {
    return this.post('/edits', { op, rev, edit });
  }

  /** @param {number} rev @param {number} index @param {number} object @param {Uint8Array} runs @param {string} op */
  async paint(rev, index, object, runs, op) {
    const query = new URLSearchParams({ object: String(object), op, rev: String(rev) });
    return (await send('PUT', `${this.path}/masks/${index}?${query}`, runs)).json();
  }
}

const EVENTS = ['edit', 'frame', 'states', 'job', 'progress', 'table', 'video', 'tracker', 'project', 'export', 'error', 'reset'];

/**
 * Follow the events of a project. The browser connects again by itself and says which event it had last.
 * @param {ProjectApi} api
 * @param {string} after id of the last event that is known
 * @param {{event(name: string, data: any, id: string): void, connected(now: boolean, refused: boolean): void}} listener
 * @returns {EventSource}
 */
export function follow(api, after, listener) {
  const source = new EventSource(`${BASE}${api.path}/events?after=${encodeURIComponent(after)}`);
  source.onopen = () => listener.connected(true, false);
  for (const name of EVENTS) {
    source.addEventListener(name, event => {
      if (event instanceof MessageEvent) listener.event(name, JSON.parse(event.data), event.lastEventId);
      else if (name === 'error') listener.connected(false, source.readyState === EventSource.CLOSED);
    });
  }
  return source;
}

/**
 * Send a file in pieces; a piece that was lost is sent again.
 * @param {File} file @param {(share: number) => void} progress
 * @returns {Promise<string>} the name of the upload
 */
export async function upload(file, progress) {
  const { id, offset, piece } = await post('/uploads', { name: file.name, size: file.size });
  let at = offset, failures = 0;
  while (at < file.size) {
    try {
      const response = await call(`/uploads/${id}`, { method: 'PATCH', body: file.slice(at, at + piece),
        headers: { 'Content-Type': 'application/octet-stream', 'Upload-Offset': String(at) } });
      at = Number(response.headers.get('Upload-Offset'));
      failures = 0;
    } catch (error) {
      if (++failures > 5 || !(error instanceof ApiError) || ![0, 409].includes(error.status)) throw error;
      await new Promise(done => setTimeout(done, 500 * failures));
      const state = await call(`/uploads/${id}`, { method: 'HEAD' }).catch(() => null);
      at = Number(state?.headers.get('Upload-Offset') ?? at);
    }
    progress(at / file.size);
  }
  return id;
}
