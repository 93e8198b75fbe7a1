// Uploads to the inbox. They continue while other views are shown.

import { Problem, post, sleep } from './api.js';

const CONCURRENT_UPLOADS = 2;
const CONCURRENT_PARTS = 3;
const MAX_ATTEMPTS = 4;

/** Newest first. */
export const uploads = [];

/** Emits `added` with each new upload. */
export const events = new EventTarget();

/** One file. Emits `change` when any of its properties changes. */
export class Upload extends EventTarget {
  /** 'waiting', 'sending', 'sent', 'failed' or 'cancelled'. */
  state = 'waiting';
  sent = 0;
  /** The id of its job, once known. */
  job = null;
  problem = null;
  #ending = new AbortController();

  /** `rejectsOf` is the id of the job whose fixed rejects the file holds. */
  constructor(dataset, file, rejectsOf = null) {
    super();
    Object.assign(this, { dataset, file, rejectsOf, name: file.name, size: file.size });
  }

  cancel() {
    this.#ending.abort(new DOMException('Cancelled', 'AbortError'));
    if (this.state === 'waiting') this.set({ state: 'cancelled' });
  }

  set(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event('change'));
  }

  async run() {
    const { signal } = this.#ending;
    this.set({ state: 'sending' });
    try {
      const wanted = { dataset: this.dataset, name: this.name, size: this.size, rejects_of: this.rejectsOf };
      const plan = await post('uploads', wanted, { signal });
      const done = plan.kind === 'multipart' ? await this.#sendParts(plan, signal) : await this.#sendForm(plan, signal);
      // Completing is idempotent, and returns the job.
      const { job } = await retry(signal, () => post('uploads/complete', { key: plan.key, ...done }, { signal }));
      this.set({ state: 'sent', job });
    } catch (error) {
      if (signal.aborted) this.set({ state: 'cancelled' });
      else this.set({ state: 'failed', problem: error });
    }
  }

  async #sendForm({ url, fields }, signal) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append('file', this.file);
    await send('POST', url, form, (sent) => this.set({ sent }), signal);
    return {};
  }

  async #sendParts({ upload_id, part_bytes, parts }, signal) {
    // A part that fails permanently stops the others.
    const failing = new AbortController();
    signal = AbortSignal.any([signal, failing.signal]);
    const left = [...parts];
    const done = [];
    const sent = new Map();
    const worker = async () => {
      for (let part = left.shift(); part; part = left.shift()) {
        const { number, url } = part;
        const piece = this.file.slice((number - 1) * part_bytes, number * part_bytes);
        const etag = await retry(signal, () =>
          sendPart(
            url,
            piece,
            (count) => {
              sent.set(number, count);
              this.set({ sent: [...sent.values()].reduce((sum, count) => sum + count, 0) });
            },
            signal,
          ),
        );
        done.push({ number, etag });
      }
    };
    try {
      await Promise.all(Array.from({ length: CONCURRENT_PARTS }, worker));
    } catch (error) {
      failing.abort(error);
      throw error;
    }
    done.sort((a, b) => a.number - b.number);
    return { upload_id, parts: done };
  }
}

export function add(dataset, files) {
  for (const file of files) {
    const upload = new Upload(dataset, file);
    uploads.unshift(upload);
    events.dispatchEvent(new CustomEvent('added', { detail: upload }));
  }
  startNext();
}

export const sending = () => uploads.some(({ state }) => state === 'sending' || state === 'waiting');

export function cancelAll() {
  for (const upload of uploads) upload.cancel();
  uploads.length = 0;
}

function startNext() {
  const running = uploads.filter(({ state }) => state === 'sending').length;
  const waiting = uploads.filter(({ state }) => state === 'waiting').reverse();
  for (const upload of waiting.slice(0, CONCURRENT_UPLOADS - running)) upload.run().finally(startNext);
}

async function retry(signal, send) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      if (signal.aborted || !error.isTransient || attempt === MAX_ATTEMPTS) throw error;
      await sleep(500 * 2 ** attempt * (0.5 + Math.random()), signal);
    }
  }
}

async function sendPart(url, piece, progress, signal) {
  const response = await send('PUT', url, piece, progress, signal);
  const etag = response.getResponseHeader('etag');
  if (!etag)
    throw new Problem({
      status: 400,
      title: 'No ETag',
      detail: 'The bucket hides the ETag of a part from this page: its CORS rules must expose it.',
    });
  return etag;
}

/** Sends with XMLHttpRequest, because `fetch` reports no upload progress. */
function send(method, url, body, progress, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    signal.addEventListener('abort', abort, { once: true });
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => (request.status < 300 ? resolve(request) : reject(refusal(request)));
    request.onerror = () =>
      reject(
        new Problem({
          status: 0,
          title: 'The upload was interrupted',
          detail: 'The bucket did not respond. Check the connection and drop the file again.',
        }),
      );
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal.removeEventListener('abort', abort);
    request.open(method, url);
    request.send(body);
  });
}

function refusal(request) {
  const text = new DOMParser().parseFromString(request.responseText, 'text/xml');
  const code = text.querySelector('Code')?.textContent;
  const message = text.querySelector('Message')?.textContent;
  return new Problem({
    status: request.status,
    title: code ?? `Status ${request.status}`,
    detail: `${message ?? 'The bucket refused the file.'} Drop the file again to start a new upload.`,
  });
}
