import { announce, fill, h, setText } from './dom.js';
import { bytes, duration, fileName, fullTime, number, store, time } from './format.js';
import { actionsPart } from './job-actions.js';
import { isFinal, watchJob } from './live.js';
import { badge, bar, column, fact, loading, numeric, problemPanel, stateName, table } from './parts.js';
import { rejectsPart } from './rejects.js';

const OUTCOMES = ['inserted', 'updated', 'unchanged', 'stale', 'deleted', 'pruned'];
const STEP = 0.25;

/** One job: its progress, the outcome of its rows, and its rejects. */
export function jobView(id) {
  const title = h('h1', {}, 'Job');
  const content = h('div', {}, loading('the job'));
  const node = h('section', {}, h('p', { class: 'crumbs' }, h('a', { href: '#/jobs' }, 'Jobs'), ' /'), title, content);
  let parts = null;
  let before = null;

  function changed(job) {
    if (!parts) {
      parts = layout(job, acted);
      setText(title, fileName(job.object.key));
      document.title = `${fileName(job.object.key)} · Landfall`;
      fill(content, parts.nodes);
    }
    parts.set(job);
    const news = announcement(job, before);
    if (news) announce(news);
    before = job;
  }

  function failed(error) {
    // A job that is shown stays; the next response updates it.
    if (parts) return;
    if (error.status === 404)
      fill(
        content,
        h(
          'p',
          { class: 'muted' },
          'Waiting for the job. It starts when the first part of its file has been read. If nothing changes, the job does not exist.',
        ),
      );
    else fill(content, problemPanel(error));
  }

  /** Shows the job as it is after a click. It may be open again, so it is watched again. */
  function acted(job) {
    changed(job);
    stop();
    stop = watchJob(id, changed, failed);
  }

  let stop = watchJob(id, changed, failed);
  return { title: 'Job', node, stop: () => stop() };
}

/** Returns what to announce to screen readers: each quarter and the end. */
function announcement(job, before) {
  if (!before) return null;
  if (isFinal(job)) {
    const rejected = job.counts?.rejected ? `, ${number(job.counts.rejected)} rejected` : '';
    return isFinal(before) ? null : `${stateName(job.state)}: ${number(job.counts?.rows ?? 0)} rows${rejected}`;
  }
  const quarter = (progress) => Math.floor((progress ?? 0) / STEP);
  return quarter(job.progress) > quarter(before.progress)
    ? `${quarter(job.progress) * STEP * 100} percent loaded`
    : null;
}

function layout(first, changed) {
  const progress = bar('Progress of this job');
  const state = h('span');
  const summary = h('span', { class: 'muted' });
  const figures = h('dl', { class: 'figures' });
  const problem = h('div');
  const actions = actionsPart(first, changed);
  const stores = h('div');
  const dead = h('div');
  const rejects = rejectsPart(first);
  const about = h('dl', { class: 'facts' });
  const nodes = [
    h(
      'div',
      { class: 'panel head' },
      h('p', { class: 'state-line' }, state, summary),
      progress.node,
      problem,
      figures,
      actions.node,
    ),
    stores,
    dead,
    rejects.node,
    h('section', {}, h('h2', {}, 'About this job'), about),
  ];

  function set(job) {
    fill(state, badge(job.state));
    setText(summary, summaryOf(job));
    progress.set(job.state === 'succeeded' ? 1 : job.progress, job.state);
    fill(
      problem,
      job.paused &&
        h(
          'div',
          { class: 'panel warning' },
          h('p', {}, h('strong', {}, 'The dataset has been paused since ', at(job.paused.at))),
          h('p', {}, `By ${job.paused.by}. The other chunks wait until it is resumed, and then continue within five minutes.`),
        ),
      job.waiting_for.map((down) =>
        h(
          'div',
          { class: 'panel warning' },
          h('p', {}, h('strong', {}, `Waiting for ${store(down.store)} since ${time(down.since)}`)),
          h('p', {}, `${down.reason}. The job continues by itself once the database is back.`),
        ),
      ),
      job.problem &&
        h(
          'div',
          { class: `panel ${job.state === 'succeeded' ? 'warning' : 'problem'}` },
          h('p', {}, h('strong', {}, job.problem.code.replaceAll('_', ' '))),
          h('p', {}, job.problem.message),
        ),
      job.warnings.length > 0 &&
        h(
          'div',
          { class: 'panel warning' },
          h('p', {}, h('strong', {}, 'Warnings')),
          h(
            'ul',
            {},
            job.warnings.map((warning) => h('li', {}, warning.message)),
          ),
        ),
    );
    fill(figures, figuresOf(job));
    fill(stores, job.counts && storesTable(job.counts.stores));
    fill(dead, job.chunks.dead > 0 && deadChunks(job));
    fill(about, aboutOf(job));
    actions.set(job);
    rejects.set(job);
  }
  return { nodes, set };
}

function summaryOf({ state, cancelled, chunks, closing, problem, warnings, closed_at, created_at }) {
  if (state === 'open' && cancelled) return `${cancelled.by} has cancelled the job. It closes soon.`;
  if (state === 'open' && chunks.planned === null) return 'The file is still being read.';
  if (closing === 'counts_prune') return 'Every chunk is processed. Counting the rows that the snapshot lacks.';
  if (closing === 'prunes') return 'Every chunk is processed. Deleting the rows that the snapshot lacks.';
  if (state === 'open') return `${number(chunks.remaining)} of ${number(chunks.planned)} chunks remaining.`;
  const took = closed_at ? ` Took ${duration(created_at, closed_at)}.` : '';
  if (state === 'succeeded')
    return `${problem || warnings.length > 0 ? 'No row is missing, but see below.' : 'Every row is in the stores or among the rejects.'}${took}`;
  if (state === 'partial') return `Some chunks failed; their rows are missing.${took}`;
  if (state === 'cancelled') return `The rows of the chunks that were processed before are in the stores.${took}`;
  return `The rows that were read before the failure are in the stores.${took}`;
}

/** Returns how far the indexes and totals are that the definition adds to big tables. */
function maintenanceOf({ step, error, finished_at, updated_at }) {
  if (finished_at) return ['Created ', at(finished_at)];
  if (!step) return 'Waiting for other maintenance of this dataset.';
  const { kind, name, rows } = step.creates;
  const what = {
    index: `the index of ${name}`,
    totals: `the totals ${name}`,
    versions: `longer versions in ${name}`,
    search: `the search in ${name}`,
  }[kind];
  const included = rows ? `, ${number(rows)} rows so far` : '';
  return [
    `Creating ${what} in ${store(step.store)}${included}. `,
    error && h('span', { class: 'some' }, `It failed and is tried again: ${error} `),
    h('span', { class: 'muted' }, at(updated_at)),
  ];
}

const at = (text) => h('time', { datetime: text, title: fullTime(text) }, time(text));

function figuresOf({ counts, chunks, rows_per_second, state }) {
  const done = chunks.planned === null ? number(chunks.done) : `${number(chunks.done)} of ${number(chunks.planned)}`;
  return [
    fact('Rows', counts ? number(counts.rows) : '–'),
    fact('Rejected', counts ? number(counts.rejected) : '–'),
    fact(
      state === 'open' ? 'Rows per second' : 'Rows per second, overall',
      rows_per_second === null ? '–' : number(Math.round(rows_per_second)),
    ),
    fact('Chunks', done, chunks.dead > 0 && h('span', { class: 'some' }, ` (${number(chunks.dead)} failed)`)),
  ];
}

function storesTable(stores) {
  const kinds = Object.entries(stores);
  if (kinds.length === 0) return null;
  const head = [column('Store'), OUTCOMES.map((name) => column(name, { class: 'number' }))];
  const body = h(
    'tbody',
    {},
    kinds.map(([kind, counts]) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, store(kind)),
        OUTCOMES.map((name) => numeric(counts[name])),
      ),
    ),
  );
  return h('section', {}, h('h2', {}, 'Outcome of the rows'), table('Rows by store and outcome', head, body));
}

function deadChunks({ chunks, dead_chunks: { first, by_code } }) {
  const words = (code) => code.replaceAll('_', ' ');
  const reasons = Object.entries(by_code).map(([code, count]) => `${number(count)} × ${words(code)}`);
  const numbers = { class: 'number' };
  const head = [column('Chunk', numbers), column('Line', numbers), column('Bytes'), column('Reason')];
  const row = ({ ordinal, first_line, range, code, reason }) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'number' }, number(ordinal)),
      numeric(first_line),
      h('td', {}, `${number(range.start)} to ${number(range.end)}`),
      h('td', {}, reason, h('span', { class: 'muted small under' }, words(code))),
    );
  return h(
    'section',
    {},
    h('h2', {}, 'Failed chunks'),
    h(
      'p',
      { class: 'muted' },
      `Rows of these parts of the file may be missing. Remove the cause, then process them again. ${reasons.join(', ')}.`,
      chunks.dead > first.length && ` The first ${number(first.length)}:`,
    ),
    first.length > 0 && table('Failed chunks', head, h('tbody', {}, first.map(row)), 'rejects'),
  );
}

function aboutOf(job) {
  const { object, created_at, closed_at } = job;
  return [
    job.dataset && fact('Dataset', h('a', { href: `#/data/${encodeURIComponent(job.dataset)}` }, job.dataset)),
    job.rejects_of && fact('Fixed rejects of', h('a', { href: `#/jobs/${job.rejects_of}` }, `job ${job.rejects_of}`)),
    fact('Object', h('code', {}, object.key)),
    object.version && fact('Version', h('code', {}, object.version)),
    fact('Size', object.codec ? `${bytes(object.size)}, compressed with ${object.codec}` : bytes(object.size)),
    fact('Started', at(created_at)),
    closed_at && fact('Closed', at(closed_at)),
    job.maintenance && fact('Indexes and totals', maintenanceOf(job.maintenance)),
    job.redrives.length > 0 &&
      fact(
        'Processed again',
        job.redrives.map(({ by, at: when, chunks }) => h('p', {}, `${number(chunks)} chunks, by ${by}, `, at(when))),
      ),
    fact('Job', h('code', {}, job.id)),
  ];
}
