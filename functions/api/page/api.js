// The HTTP API: requests with retries, and one kind of error.

import { currentToken } from './session.js';

const TIMEOUT = 35_000;
const MAX_ATTEMPTS = 4;
const LONGEST_WAIT = 10_000;

/** Emits `expired` when the token is no longer accepted. */
export const events = new EventTarget();

/** An error and what to do about it. The status is 0 if there was no response. */
export class Problem extends Error {
  constructor({ status, title, detail, requestId = null, retryAfter = null }) {
    super(detail ?? title);
    Object.assign(this, { status, title, detail, requestId, retryAfter });
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Returns the URL of a route, relative to the page. */
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

/** Sends a GET request, and retries transient errors. */
export async function get(path, { query, accept = 'application/json', fresh = false, signal, token } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request(
        url(path, query),
        { headers: { accept }, cache: fresh ? 'no-cache' : 'default' },
        { signal, token },
      );
    } catch (error) {
      if (!(error instanceof Problem) || !error.isTransient || attempt === MAX_ATTEMPTS) throw error;
      const wait = error.retryAfter ?? 300 * 2 ** attempt * (0.5 + Math.random());
      await sleep(Math.min(wait, LONGEST_WAIT), signal);
    }
  }
}

/** Sends a POST request once: after a failure it is unknown whether it took effect. */
export function post(path, body, { type = 'application/json', query, signal } = {}) {
  const content = type === 'application/json' && typeof body !== 'string' ? JSON.stringify(body) : body;
  const headers = { 'content-type': type, accept: 'application/json' };
  return request(url(path, query), { method: 'POST', headers, body: content }, { signal });
}

/** Sends a DELETE request once. */
export function remove(path) {
  return request(url(path), { method: 'DELETE', headers: { accept: 'application/json' } }, {});
}

/** Downloads a response as a file, or `all` pages from that one on. */
export async function download(path, { query, accept, name, all = false }) {
  const parts = [];
  for (let page = query; page;) {
    const { blob, next } = await get(path, { query: page, accept });
    parts.push(blob);
    page = all ? next : null;
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(parts, { type: accept }));
  link.download = name;
  link.click();
  // The browser has started the download when the current task ends.
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

async function request(where, init, { signal, token = currentToken() }) {
  const limit = AbortSignal.timeout(TIMEOUT);
  let response;
  let text;
  try {
    response = await fetch(where, {
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${token}` },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const { accept } = init.headers;
    if (response.ok && accept !== 'application/json') return { blob: await response.blob(), next: nextOf(response) };
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw noResponse();
  }
  if (response.ok) return parse(text);
  const problem = problemOf(response, text);
  if (problem.status === 401 && token === currentToken()) events.dispatchEvent(new Event('expired'));
  throw problem;
}

/** Returns the query of the next page, if there is one. */
function nextOf(response) {
  const [, query] = /^<\?([^>]*)>; rel="next"$/.exec(response.headers.get('link') ?? '') ?? [];
  return query === undefined ? null : Object.fromEntries(new URLSearchParams(query));
}

function noResponse() {
  return navigator.onLine
    ? new Problem({ status: 0, title: 'No response', detail: 'The server did not respond. Try again in a moment.' })
    : new Problem({
        status: 0,
        title: 'Offline',
        detail: 'This device has no network connection. Try again when it is back.',
      });
}

function problemOf(response, text) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Error responses of a gateway may not be JSON; the status is enough.
  }
  const seconds = Number(response.headers.get('retry-after'));
  return new Problem({
    status: response.status,
    title: body.title ?? `Status ${response.status}`,
    detail:
      body.detail ??
      body.message ??
      ADVICE[response.status] ??
      'Try again. If it fails again, see the logs of the api function.',
    requestId: body.request_id ?? response.headers.get('x-request-id'),
    retryAfter: seconds > 0 ? seconds * 1000 : null,
  });
}

const ADVICE = {
  413: 'The request is too large. Drop the rows as a file instead.',
  429: 'There were too many requests. Wait a few seconds and try again.',
  503: 'The service is busy. Wait a few seconds and try again.',
};

// Keeps integers beyond 2^53 as text, if the browser passes their source to the reviver.
function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '')
      ? context.source
      : value,
  );
}
