// The shell: sign-in, routing, and what all views share.

import * as api from './api.js';
import { announce, fill, h, setText } from './dom.js';
import * as live from './live.js';
import { problemPanel } from './parts.js';
import * as session from './session.js';
import { cancelAll, sending } from './uploads.js';
import { dataView } from './view-data.js';
import { destinationView } from './view-destination.js';
import { destinationsView } from './view-destinations.js';
import { jobView } from './view-job.js';
import { jobsView } from './view-jobs.js';
import { loadView } from './view-load.js';
import { rowView } from './view-row.js';
import { signInView } from './view-sign-in.js';
import { sourceView } from './view-source.js';
import { sourcesView } from './view-sources.js';
import { totalsView } from './view-totals.js';

const main = document.getElementById('main');
const nav = document.getElementById('nav');
const notice = document.getElementById('notice');

/** The current view, `{ title, node, update?(query), stop?() }`, and its path. */
let view = null;
let shownPath = null;

/** Returns path and query of the URL's fragment. A segment may be empty, because it may be part of a row's key. */
function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { segments: segmentsOf(path), query: new URLSearchParams(query) };
}

function segmentsOf(path) {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    // The URL was mistyped or cut off.
    return [];
  }
}

function viewOf([section, name, kind, ...rest], query) {
  if (section === 'load') return loadView(name);
  if (section === 'jobs' && name) return jobView(name);
  if (section === 'jobs') return jobsView(query);
  if (section === 'sources' && name) return sourceView(name);
  if (section === 'sources') return sourcesView();
  if (section === 'destinations' && name) return destinationView(name);
  if (section === 'destinations') return destinationsView();
  if (section === 'data' && kind === 'rows' && rest.length > 0) return rowView(name, rest, query);
  if (section === 'data' && kind === 'totals' && rest.length > 0) return totalsView(name, rest[0], query);
  if (section === 'data') return dataView(name, query);
  return null;
}

function show() {
  if (!session.current()) return;
  const { segments, query } = route();
  const path = segments.join('/');
  if (view?.update && path === shownPath) {
    view.update(query);
    return;
  }
  const next = viewOf(segments, query);
  if (!next) {
    location.replace(session.may('write') ? '#/load' : '#/jobs');
    return;
  }
  const first = view === null;
  replace(next);
  shownPath = path;
  for (const link of nav.querySelectorAll('a')) {
    if (link.hash === `#/${segments[0]}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  // On the first load the browser's initial focus is right.
  if (!first) focusHeading();
}

function replace(next) {
  view?.stop?.();
  view = next;
  document.title = `${next.title} · Landfall`;
  fill(main, next.node);
  window.scrollTo(0, 0);
}

function focusHeading() {
  const heading = main.querySelector('h1');
  heading?.setAttribute('tabindex', '-1');
  heading?.focus();
}

function signedOut(message) {
  live.close();
  cancelAll();
  session.end();
  nav.hidden = true;
  document.getElementById('who').hidden = true;
  shownPath = null;
  replace(signInView(message, signIn));
}

async function signIn(token) {
  session.setInfo(await api.get('session', { token, fresh: true }));
  session.setToken(token);
  enter();
}

function enter() {
  nav.hidden = false;
  document.getElementById('who').hidden = false;
  setText(document.getElementById('name'), session.current().name);
  nav.querySelector('a[href="#/load"]').hidden = !session.may('write');
  show();
}

async function start() {
  if (!session.restore()) return signedOut(null);
  try {
    await signIn(session.currentToken());
  } catch (error) {
    if (error.status === 401)
      signedOut('This token is not accepted. It may have been removed, or belong to another stack.');
    else fill(main, h('h1', {}, 'Landfall'), problemPanel(error, start));
  }
}

function showNetwork() {
  notice.hidden = navigator.onLine;
  fill(
    notice,
    navigator.onLine
      ? ''
      : 'No network connection. This page may be out of date; it updates when the connection is back.',
  );
}

function showFeed() {
  const texts = { live: 'Live', polling: 'Refreshing every few seconds', off: '' };
  const feed = document.getElementById('feed');
  feed.className = `feed ${live.status()}`;
  setText(feed, texts[live.status()]);
}

api.events.addEventListener('expired', () => {
  if (session.current())
    signedOut('Your token is no longer accepted. Sign in with another one, or contact the operator of this stack.');
});
live.events.addEventListener('change', showFeed);
window.addEventListener('hashchange', () => {
  // A sign-in link of the local stack, opened in a tab that already shows the page.
  if (location.hash.startsWith('#token=')) start();
  else show();
});
window.addEventListener('online', showNetwork);
window.addEventListener('offline', showNetwork);
window.addEventListener('beforeunload', (event) => {
  if (sending()) event.preventDefault();
});
// A file dropped outside the drop zone must not replace the page.
for (const name of ['dragover', 'drop']) window.addEventListener(name, (event) => event.preventDefault());
document.getElementById('skip').addEventListener('click', () => main.focus());
document.getElementById('sign-out').addEventListener('click', () => {
  signedOut(null);
  announce('Signed out');
});
showNetwork();
start();
