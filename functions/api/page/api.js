// The HTTP API: one way to ask, one kind of error.

import { currentToken } from './session.js';

const TIMEOUT = 35_000;
const TRIES = 4;
const LONGEST_WAIT = 10_000;

/** Told when the token is no longer accepted. */
export const events = new EventTarget();

/** What went wrong, and what to do about it. A status of 0 means that there was no answer. */
export class Problem extends Error {
  constructor({ status, title, detail, requestId = null, retryAfter = null }) {
    super(detail ?? title);
    Object.assign(this, { status, title, detail, requestId, retryAfter });
  }

  /** Whether the same request may work later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The URL of a route, whatever path the page itself is served under. */
export function url(path, query = {}) {
  const result = new URL(path, document.baseURI);
  result.hash = '';
  result.search = '';
  for (const [name, value] of Object.entries(query)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null && item !== undefined && item !== '') result.searchParams.append(name, item);
    }
  }
  return result;
}

/** Reads, and tries again what is likely to pass. */
export async function get(path, { query, accept = 'application/json', fresh = false, signal, token } = {}) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await ask(
        url(path, query),
        { headers: { accept }, cache: fresh ? 'no-cache' : 'default' },
        { signal, token },
      );
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing || tried === TRIES) throw error;
      const wait = error.retryAfter ?? 300 * 2 ** tried * (0.5 + Math.random());
      await sleep(Math.min(wait, LONGEST_WAIT), signal);
    }
  }
}

/** Sends once: whether a request that failed was taken is not known. */
export function post(path, body, { type = 'application/json', query, signal } = {}) {
  const content = type === 'application/json' && typeof body !== 'string' ? JSON.stringify(body) : body;
  const headers = { 'content-type': type, accept: 'application/json' };
  return ask(url(path, query), { method: 'POST', headers, body: content }, { signal });
}

/** Reads what is to be kept as a file: one answer, or `all` that follow one another. */
export async function download(path, { query, accept, name, all = false }) {
  const parts = [];
  for (let asked = query; asked;) {
    const { blob, next } = await get(path, { query: asked, accept });
    parts.push(blob);
    asked = all ? next : null;
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(parts, { type: accept }));
  link.download = name;
  link.click();
  // The browser has taken what it needs once the click's own task is over.
  setTimeout(() => URL.revokeObjectURL(link.href), 0);
}

export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}

async function ask(where, init, { signal, token = currentToken() }) {
  const limit = AbortSignal.timeout(TIMEOUT);
  let response;
  let text;
  try {
    response = await fetch(where, {
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${token}` },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const asked = init.headers.accept;
    if (response.ok && asked !== 'application/json') return { blob: await response.blob(), next: nextOf(response) };
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw noAnswer();
  }
  if (response.ok) return parse(text);
  const problem = problemOf(response, text);
  if (problem.status === 401 && token === currentToken()) events.dispatchEvent(new Event('expired'));
  throw problem;
}

/** The query of the page that follows, if there is one. */
function nextOf(response) {
  const [, query] = /^<\?([^>]*)>; rel="next"$/.exec(response.headers.get('link') ?? '') ?? [];
  return query === undefined ? null : Object.fromEntries(new URLSearchParams(query));
}

function noAnswer() {
  return navigator.onLine
    ? new Problem({ status: 0, title: 'No answer', detail: 'The server did not answer. Try again in a moment.' })
    : new Problem({
        status: 0,
        title: 'Offline',
        detail: 'This device has no network connection. Try again once it has.',
      });
}

function problemOf(response, text) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // A gateway's own answers need not be JSON; the status says enough.
  }
  const seconds = Number(response.headers.get('retry-after'));
  return new Problem({
    status: response.status,
    title: body.title ?? `Status ${response.status}`,
    detail:
      body.detail ??
      body.message ??
      ADVICE[response.status] ??
      'Try again; if it stays, the logs of the api function say more.',
    requestId: body.request_id ?? response.headers.get('x-request-id'),
    retryAfter: seconds > 0 ? seconds * 1000 : null,
  });
}

const ADVICE = {
  413: 'It is too large for one request. Drop it as a file instead.',
  429: 'There were too many requests at once. Wait a few seconds and try again.',
  503: 'The service is busy. Wait a few seconds and try again.',
};

// Integers beyond 2^53 are kept as their text, where the browser shows it to the reviver.
function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '')
      ? context.source
      : value,
  );
}
