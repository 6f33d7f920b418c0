// Starts the page: exchanges the token of the address, then opens the project that it names.

import { enter } from './api.js';
import { Controls } from './controls.js';
import { showStart } from './dialogs.js';
import { byId } from './dom.js';
import { Page } from './page.js';

/** @param {Page} page @param {string} id @param {number} [frame] */
async function open(page, id, frame = 0) {
  history.replaceState(null, '', `#p=${id}`);
  await page.open(id, frame).catch(error => page.fail(error));
}

async function start() {
  const { t, p, f } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (t) {
    history.replaceState(null, '', p ? `#p=${p}` : location.pathname);
    await enter(t);
  }
  const page = new Page(), choose = () => showStart(id => open(page, id)).catch(error => page.fail(error));
  new Controls(page);
  byId('home').addEventListener('click', (/** @type {Event} */ event) => {
    event.preventDefault();
    page.close();
    history.replaceState(null, '', location.pathname);
    choose();
  });
  addEventListener('hashchange', () => location.reload());
  if (p) await open(page, p, Number(f) || 0);
  else await choose();
}

start().catch(error => {
  byId('banner').textContent = error.status === 401 ? 'Open the address that the command printed: it lets this page use the server.' : error.message;
  byId('banner').hidden = false;
});
