import { get } from './api.js';
import { announce, fill, h } from './dom.js';
import { fullTime, time } from './format.js';
import { badge, column, empty, loading, problemPanel, table } from './parts.js';

const PAGE = 100;
const EVERY = 5_000;
const OUTCOMES = {
  empty: ['succeeded', 'Nothing new'],
  succeeded: ['succeeded', 'Succeeded'],
  job_failed: ['failed', 'Job failed'],
  failed: ['failed', 'Failed'],
};
const ACTIVITIES = { waiting: 'Waiting', fetching: 'Fetching', retrying: 'Waiting to retry', ingesting: 'Ingesting' };

/** The badge of how a run ended. */
export const outcome = (name) => badge(...(OUTCOMES[name] ?? [name, name]));

/** What a source is doing. */
export const activity = ({ paused, problem, activity: name }) =>
  problem !== null ? 'Does not run' : paused !== null && name === 'waiting' ? 'Paused' : (ACTIVITIES[name] ?? name);

export const at = (text) => h('time', { datetime: text, title: fullTime(text) }, time(text));

/** When the next run of a source is due. */
export function next({ paused, problem, next_run_at }) {
  if (paused !== null || problem !== null) return '–';
  return next_run_at === null ? 'within a minute' : at(next_run_at);
}

/** Calls `read` now and every few seconds, until `stop` is called. */
export function refresh(read) {
  let timer = null;
  let stopped = false;
  async function again() {
    await read(() => stopped);
    if (!stopped) timer = setTimeout(again, EVERY);
  }
  again();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** The list of sources, by name. */
export function sourcesView() {
  const content = h('div', {}, loading('sources'));
  const outcomePart = h('div');
  const body = h('tbody');
  const more = h('button', { type: 'button', hidden: true, onclick: older }, 'Show more sources');
  const node = h('section', {}, h('h1', {}, 'Sources'), content, outcomePart, more);
  let pages = 1;

  /** Reads as many pages as are shown. */
  async function read(isStopped) {
    const all = { sources: [], broken: [], next: null };
    try {
      for (let page = 0; page === 0 || (page < pages && all.next); page += 1) {
        const { sources, broken, next: cursor } = await get('sources', {
          query: { limit: PAGE, cursor: all.next },
          fresh: true,
        });
        all.sources.push(...sources);
        all.broken.push(...broken);
        all.next = cursor;
      }
    } catch (error) {
      if (!isStopped()) fill(outcomePart, problemPanel(error));
      return;
    }
    if (isStopped()) return;
    fill(outcomePart, all.broken.map(brokenSource));
    more.hidden = all.next === null;
    draw(all.sources);
  }

  function draw(sources) {
    if (sources.length === 0) {
      fill(content, noSources());
      return;
    }
    const focused = document.activeElement?.getAttribute('href');
    fill(body, sources.map(row));
    if (!body.isConnected) {
      const head = [
        column('Source'),
        column('Schedule'),
        column('Last run'),
        column('Next run'),
        column('State', { class: 'wide' }),
      ];
      fill(content, table('Sources', head, body, 'jobs'));
    }
    // The focused link has been replaced.
    if (focused) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  async function older() {
    pages += 1;
    await read(() => false);
    announce('More sources are shown');
  }

  return { title: 'Sources', node, stop: refresh(read) };
}

function row(source) {
  const { name, dataset, definition, last_run: last } = source;
  return h(
    'tr',
    {},
    h(
      'th',
      { scope: 'row' },
      h('a', { href: `#/sources/${encodeURIComponent(name)}` }, name),
      h('span', { class: 'muted small under' }, dataset),
    ),
    h('td', {}, definition.schedule),
    h('td', {}, last === null ? '–' : [outcome(last.outcome), ' ', at(last.started_at)]),
    h('td', {}, next(source)),
    h('td', { class: 'wide' }, activity(source)),
  );
}

const noSources = () =>
  empty(
    'There are no sources yet. A source is a TOML file in the configuration bucket, ',
    h('code', {}, 'sources/<name>.toml'),
    '.',
  );

const brokenSource = ({ name, message }) =>
  h(
    'div',
    { class: 'panel warning' },
    h('p', {}, h('strong', {}, `${name} does not run: its definition is invalid`)),
    h('p', {}, message),
  );
