// Live job status: pushed over one WebSocket, or polled where there is none.

import { get, sleep } from './api.js';
import { current, currentToken } from './session.js';

// Milliseconds.
const PING = 5 * 60_000;
const IDLE = 30_000;
const SHORTEST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;
// A push can be lost with its connection, so open jobs are polled even while the socket is open.
const WAIT_WITH_SOCKET = 15_000;
// Jobs per poll of one dataset, and of several together.
const JOBS_OF_ONE = 20;
const JOBS_OF_SEVERAL = 100;

/** Topics by name, each with the handlers passed to `watch…`. */
const topics = new Map();

let socket = null;
let failures = 0;
let retry = null;
let idle = null;
let ping = null;

/** Emits `change` when `status()` changes: 'live', 'polling' or 'off'. */
export const events = new EventTarget();

let shown = 'off';
export const status = () => shown;

export const isFinal = (job) => job.state !== 'open';

/**
 * Calls `changed` with a job now and whenever it changes, or `failed` with an error. Returns a function that stops it.
 */
export const watchJob = (id, changed, failed) => watch(`job ${id}`, { job: id }, { changed, failed });

/** Calls `changed` with each job of a dataset that changes. Returns a function that stops it. */
export const watchDataset = (name, changed) => watch(`dataset ${name}`, { dataset: name }, { changed });

/** Stops everything, after sign-out. */
export function close() {
  const stopped = [...topics.values()];
  topics.clear();
  for (const topic of stopped) topic.stop();
  disconnect();
  updateStatus();
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

/** Reports whether a job is older than the known one: responses and pushes can overtake one another. */
function isOlder(job, known) {
  if (known !== undefined && job.attempt !== known.attempt) return job.attempt < known.attempt;
  return (
    known !== undefined &&
    !isFinal(job) &&
    (isFinal(known) || job.chunks.done + job.chunks.dead < known.chunks.done + known.chunks.dead)
  );
}

/** Passes a job to the handlers if it has changed. Returns whether it has. */
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
    updateStatus();
  };
  opened.onmessage = (event) => {
    failures = 0;
    receive(event.data);
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    disconnect();
    const wait = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** failures) * (0.5 + Math.random() / 2);
    failures += 1;
    retry = setTimeout(connect, wait);
    updateStatus();
  };
}

/** Browsers cannot set a header here, and URLs with queries end up in access logs. */
function address(url, token) {
  // The local gateway, the only one without TLS, confirms no subprotocol, so browsers would close the connection.
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

function receive(text) {
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

// Polling

/** Polls one job. Returns a function that stops it. */
function pollJob(topic) {
  const ending = new AbortController();
  const { signal } = ending;
  const id = topic.subject.job;
  const load = async () => [[topic, await get(`jobs/${encodeURIComponent(id)}`, { fresh: true, signal })]];
  const failed = (error) => {
    for (const handler of topic.handlers) handler.failed?.(error);
  };
  const isOver = () => topic.jobs.has(id) && isFinal(topic.jobs.get(id));
  poll(load, signal, { failed, isOver });
  return () => ending.abort();
}

let datasetsEnding = new AbortController();

/**
 * Polls the jobs of all watched datasets with one request. Call it whenever the set of datasets changes. Returns
 * itself, as the function that stops it for one dataset.
 */
function pollDatasets() {
  datasetsEnding.abort();
  datasetsEnding = new AbortController();
  const { signal } = datasetsEnding;
  // Once for all datasets that are added or removed in one task.
  queueMicrotask(() => {
    const names = [...topics.values()].map(({ subject }) => subject.dataset).filter(Boolean);
    if (signal.aborted || names.length === 0) return;
    const query = names.length === 1 ? { dataset: names[0], limit: JOBS_OF_ONE } : { limit: JOBS_OF_SEVERAL };
    const load = async () => {
      const { jobs } = await get('jobs', { query, fresh: true, signal });
      return jobs.map((job) => [topics.get(`dataset ${job.dataset}`), job]).filter(([topic]) => topic);
    };
    poll(load, signal);
  });
  return pollDatasets;
}

/** Polls less often the longer nothing changes, and rarely while changes are pushed. */
async function poll(load, signal, { failed = () => {}, isOver = () => false } = {}) {
  let wait = SHORTEST_WAIT;
  try {
    for (;;) {
      try {
        for (const [topic, job] of await load()) if (deliver(topic, job)) wait = SHORTEST_WAIT;
      } catch (error) {
        signal.throwIfAborted();
        failed(error);
        // A job exists only once the first part of its file has been read.
        if (error.status !== 404) wait = LONGEST_WAIT;
        if (error.status === 401 || error.status === 403) return;
      }
      updateStatus();
      if (isOver()) return;
      await pause(isOpen() ? WAIT_WITH_SOCKET : wait, signal);
      wait = Math.min(LONGEST_WAIT, wait * 1.4);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Waits that long, and until the page is visible. */
async function pause(milliseconds, signal) {
  const lost = new Promise((resolve) => events.addEventListener('change', resolve, { once: true, signal }));
  await Promise.race([sleep(milliseconds, signal), lost]);
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true, signal }));
    signal.throwIfAborted();
  }
}

function updateStatus() {
  const now = isOpen() ? 'live' : topics.size > 0 ? 'polling' : 'off';
  if (now === shown) return;
  shown = now;
  events.dispatchEvent(new Event('change'));
}
