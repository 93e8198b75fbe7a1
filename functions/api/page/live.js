// What becomes of jobs, as it happens: pushed over one WebSocket, asked for where there is none.

import { get, sleep } from './api.js';
import { current, currentToken } from './session.js';

const PING = 5 * 60_000;
const IDLE = 30_000;
const SHORTEST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;
// A push may be lost with its connection: an open job is asked for all the same, but seldom.
const SELDOM = 15_000;

/** Topics by name; each has the handlers that were given to `watch…`. */
const topics = new Map();

let socket = null;
let failures = 0;
let retry = null;
let idle = null;
let ping = null;

/** Tells (by `change`) when `status()` is another: 'live', 'asking' or 'off'. */
export const events = new EventTarget();

let shown = 'off';
export const status = () => shown;

export const isFinal = (job) => job.state !== 'open';

/**
 * Calls `changed` with a job as it is now, and whenever it changes; `failed` with what an answer said instead.
 * Gives the function that ends it.
 */
export const watchJob = (id, changed, failed) => watch(`job ${id}`, { job: id }, { changed, failed });

/** Calls `changed` with each job of a dataset that changes. Gives the function that ends it. */
export const watchDataset = (name, changed) => watch(`dataset ${name}`, { dataset: name }, { changed });

/** Ends everything: whoever was signed in no longer is. */
export function close() {
  for (const topic of topics.values()) topic.ending.abort();
  topics.clear();
  disconnect();
  tell();
}

function watch(name, subject, handler) {
  let topic = topics.get(name);
  if (!topic) {
    topic = { name, subject, handlers: new Set(), jobs: new Map(), ending: new AbortController() };
    topics.set(name, topic);
    poll(topic);
    if (isOpen()) send('subscribe', topic);
    else connect();
  }
  topic.handlers.add(handler);
  for (const job of topic.jobs.values()) handler.changed(job);
  return () => {
    topic.handlers.delete(handler);
    if (topic.handlers.size > 0 || topics.get(name) !== topic) return;
    topics.delete(name);
    topic.ending.abort();
    if (isOpen()) send('unsubscribe', topic);
    clearTimeout(idle);
    idle = setTimeout(() => topics.size === 0 && disconnect(), IDLE);
  };
}

/** Answers and pushes overtake one another: a job never goes back. */
function isOlder(job, known) {
  return (
    known !== undefined &&
    !isFinal(job) &&
    (isFinal(known) || job.chunks.done + job.chunks.dead < known.chunks.done + known.chunks.dead)
  );
}

function deliver(topic, job) {
  const known = topic.jobs.get(job.id);
  if (isOlder(job, known) || JSON.stringify(job) === JSON.stringify(known)) return;
  topic.jobs.set(job.id, job);
  for (const handler of topic.handlers) handler.changed(job);
}

// WebSocket

function isOpen() {
  return socket?.readyState === WebSocket.OPEN;
}

function connect() {
  const url = current()?.socket_url;
  clearTimeout(retry);
  if (!url || socket || topics.size === 0) return;
  const opened = new WebSocket(...address(url, currentToken()));
  socket = opened;
  opened.onopen = () => {
    for (const topic of topics.values()) send('subscribe', topic);
    ping = setInterval(() => isOpen() && opened.send('{"action":"ping"}'), PING);
    tell();
  };
  opened.onmessage = (event) => {
    failures = 0;
    take(event.data);
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    disconnect();
    const wait = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** failures) * (0.5 + Math.random() / 2);
    failures += 1;
    retry = setTimeout(connect, wait);
    tell();
  };
}

/** A browser cannot set a header here, and a query would stand in access logs. */
function address(url, token) {
  // The local stack's gateway, which alone has no TLS, answers with no subprotocol; browsers refuse that.
  return url.startsWith('ws:') ? [`${url}?token=${encodeURIComponent(token)}`] : [url, ['landfall', `bearer.${token}`]];
}

function disconnect() {
  clearInterval(ping);
  clearTimeout(retry);
  const closing = socket;
  socket = null;
  closing?.close();
}

function send(action, topic) {
  socket.send(JSON.stringify({ action, ...topic.subject }));
}

function take(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return;
  }
  const { type, job } = message;
  if (type === 'error') console.warn(`socket: ${message.detail}`);
  if (type !== 'job' && type !== 'completed') return;
  for (const name of [`job ${job.id}`, `dataset ${job.dataset}`]) {
    const topic = topics.get(name);
    if (topic) deliver(topic, job);
  }
}

// Asking

async function poll(topic) {
  const { signal } = topic.ending;
  let wait = SHORTEST_WAIT;
  try {
    for (;;) {
      try {
        for (const job of await ask(topic, signal)) {
          const before = topic.jobs.get(job.id);
          deliver(topic, job);
          if (topic.jobs.get(job.id) !== before) wait = SHORTEST_WAIT;
        }
      } catch (error) {
        signal.throwIfAborted();
        for (const handler of topic.handlers) handler.failed?.(error);
        // A job is not known before the first of its file has been read.
        if (error.status !== 404) wait = LONGEST_WAIT;
        if (error.status === 401 || error.status === 403) return;
      }
      tell();
      const { job } = topic.subject;
      if (job && topic.jobs.has(job) && isFinal(topic.jobs.get(job))) return;
      await pause(isOpen() ? SELDOM : wait, signal);
      wait = Math.min(LONGEST_WAIT, wait * 1.4);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function ask({ subject }, signal) {
  if (subject.job) return [await get(`jobs/${encodeURIComponent(subject.job)}`, { fresh: true, signal })];
  const answer = await get('jobs', { query: { dataset: subject.dataset, limit: 20 }, fresh: true, signal });
  return answer.jobs;
}

/** Waits that long, and until somebody looks at the page. */
async function pause(milliseconds, signal) {
  const lost = new Promise((resolve) => events.addEventListener('change', resolve, { once: true, signal }));
  await Promise.race([sleep(milliseconds, signal), lost]);
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true, signal }));
    signal.throwIfAborted();
  }
}

function tell() {
  const now = isOpen() ? 'live' : topics.size > 0 ? 'asking' : 'off';
  if (now === shown) return;
  shown = now;
  events.dispatchEvent(new Event('change'));
}
