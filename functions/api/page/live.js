// What becomes of jobs, as it happens: pushed over one WebSocket, asked for where there is none.

import { get, sleep } from './api.js';
import { current, currentToken } from './session.js';

const PING = 5 * 60_000;
const IDLE = 30_000;
const SHORTEST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;
// A push may be lost with its connection: an open job is asked for all the same, but seldom.
const SELDOM = 15_000;
// Jobs of one dataset that are asked for, and of several together.
const OF_ONE = 20;
const OF_SEVERAL = 100;

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
  const ended = [...topics.values()];
  topics.clear();
  for (const topic of ended) topic.stop();
  disconnect();
  tell();
}

function watch(name, subject, handler) {
  let topic = topics.get(name);
  if (!topic) {
    topic = { name, subject, handlers: new Set(), jobs: new Map() };
    topics.set(name, topic);
    topic.stop = subject.job ? pollJob(topic) : pollDatasets();
    if (isOpen()) send('subscribe', topic);
    else connect();
  }
  topic.handlers.add(handler);
  for (const job of topic.jobs.values()) handler.changed(job);
  return () => {
    topic.handlers.delete(handler);
    if (topic.handlers.size > 0 || topics.get(name) !== topic) return;
    topics.delete(name);
    topic.stop();
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

/** Hands on a job that is another than it was; gives whether it is. */
function deliver(topic, job) {
  const known = topic.jobs.get(job.id);
  if (isOlder(job, known) || JSON.stringify(job) === JSON.stringify(known)) return false;
  topic.jobs.set(job.id, job);
  for (const handler of topic.handlers) handler.changed(job);
  return true;
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

/** Asks for one job. Gives the function that ends it. */
function pollJob(topic) {
  const ending = new AbortController();
  const { signal } = ending;
  const id = topic.subject.job;
  const ask = async () => [[topic, await get(`jobs/${encodeURIComponent(id)}`, { fresh: true, signal })]];
  const failed = (error) => {
    for (const handler of topic.handlers) handler.failed?.(error);
  };
  const isOver = () => topic.jobs.has(id) && isFinal(topic.jobs.get(id));
  poll(ask, signal, { failed, isOver });
  return () => ending.abort();
}

let datasetsEnding = new AbortController();

/**
 * Asks for the jobs of all datasets that are watched, by one request however many they are; to be called when others
 * are. Gives itself, as what ends it for one that no longer is.
 */
function pollDatasets() {
  datasetsEnding.abort();
  datasetsEnding = new AbortController();
  const { signal } = datasetsEnding;
  // Once for all that come and go in one task.
  queueMicrotask(() => {
    const names = [...topics.values()].map(({ subject }) => subject.dataset).filter(Boolean);
    if (signal.aborted || names.length === 0) return;
    const query = names.length === 1 ? { dataset: names[0], limit: OF_ONE } : { limit: OF_SEVERAL };
    const ask = async () => {
      const { jobs } = await get('jobs', { query, fresh: true, signal });
      return jobs.map((job) => [topics.get(`dataset ${job.dataset}`), job]).filter(([topic]) => topic);
    };
    poll(ask, signal);
  });
  return pollDatasets;
}

/** Asks again and again: seldom while changes are pushed, and the less often the longer nothing changes. */
async function poll(ask, signal, { failed = () => {}, isOver = () => false } = {}) {
  let wait = SHORTEST_WAIT;
  try {
    for (;;) {
      try {
        for (const [topic, job] of await ask()) if (deliver(topic, job)) wait = SHORTEST_WAIT;
      } catch (error) {
        signal.throwIfAborted();
        failed(error);
        // A job is not known before the first of its file has been read.
        if (error.status !== 404) wait = LONGEST_WAIT;
        if (error.status === 401 || error.status === 403) return;
      }
      tell();
      if (isOver()) return;
      await pause(isOpen() ? SELDOM : wait, signal);
      wait = Math.min(LONGEST_WAIT, wait * 1.4);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
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
