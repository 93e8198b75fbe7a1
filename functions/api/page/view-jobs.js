import { get } from './api.js';
import { datasets } from './datasets.js';
import { announce, fill, h, labelled, select } from './dom.js';
import { bytes, fileName, fullTime, number, time } from './format.js';
import { watchDataset } from './live.js';
import { badge, bar, column, empty, loading, problemPanel, table } from './parts.js';

const PAGE = 25;
const MOST_WATCHED = 40;
const STATES = [
  ['', 'All states'],
  ['open', 'Loading'],
  ['succeeded', 'Succeeded'],
  ['partial', 'Partial'],
  ['failed', 'Failed'],
  ['cancelled', 'Cancelled'],
];

/** The list of jobs, newest first. Open jobs update themselves. */
export function jobsView(query) {
  const filters = h('form', { class: 'filters', 'aria-label': 'Filter jobs' });
  const content = h('div');
  const node = h('section', {}, h('h1', {}, 'Jobs'), filters, content);
  let stops = [];
  let shown = 0;

  const stop = () => {
    for (const stopWatching of stops) stopWatching();
    stops = [];
  };

  async function update(next) {
    stop();
    shown += 1;
    const now = shown;
    const [dataset, state] = [next.get('dataset') ?? '', next.get('state') ?? ''];
    fill(content, loading('jobs'));
    try {
      const all = await datasets();
      const page = await get('jobs', { query: { dataset, state, limit: PAGE }, fresh: true });
      if (now !== shown) return;
      controls(all, dataset, state);
      const list = new JobList(page, { dataset, state });
      fill(content, list.node);
      const watched = all.map(({ name }) => name).filter((name) => !dataset || name === dataset);
      stops = watched.slice(0, MOST_WATCHED).map((name) => watchDataset(name, (job) => list.put(job)));
    } catch (error) {
      if (now === shown)
        fill(
          content,
          problemPanel(error, () => update(next)),
        );
    }
  }

  function controls(all, dataset, state) {
    const names = [['', 'All datasets'], ...all.map(({ name }) => [name, name])];
    const go = () => {
      const chosen = new URLSearchParams();
      for (const control of [byDataset, byState]) if (control.value) chosen.set(control.name, control.value);
      location.hash = `#/jobs?${chosen}`;
    };
    const byDataset = select(names, dataset, { name: 'dataset', onchange: go, id: 'jobs-dataset' });
    const byState = select(STATES, state, { name: 'state', onchange: go, id: 'jobs-state' });
    const focused = document.activeElement?.id;
    fill(filters, labelled('Dataset', byDataset), labelled('State', byState));
    // The focused control has been replaced.
    if (focused?.startsWith('jobs-')) document.getElementById(focused)?.focus();
  }

  update(query);
  return {
    title: 'Jobs',
    node,
    stop: () => {
      shown += 1;
      stop();
    },
    update,
  };
}

class JobList {
  #rows = new Map();
  #body = h('tbody');
  #more = h('button', { type: 'button', onclick: () => this.#next() }, 'Show older jobs');
  #outcome = h('div');
  #filter;
  #cursor;

  constructor({ jobs, next }, filter) {
    this.#filter = filter;
    this.#cursor = next;
    this.node = h('div');
    for (const job of jobs) this.#append(job);
    this.#arrange();
  }

  /** Adds or updates a job. */
  put(job) {
    const known = this.#rows.get(job.id);
    if (known) {
      known.set(job);
    } else if (this.#fits(job)) {
      const row = new JobRow(job);
      this.#rows.set(job.id, row);
      const after = [...this.#rows.values()].filter((other) => other !== row && other.job.created_at <= job.created_at);
      const oldest = [...this.#body.rows].at(-1);
      // A job older than all shown belongs to a later page.
      if (after.length === 0 && oldest && this.#cursor) return void this.#rows.delete(job.id);
      const next = [...this.#body.rows].find((node) => after.some((other) => other.node === node));
      this.#body.insertBefore(row.node, next ?? null);
      this.#arrange();
    }
  }

  #fits(job) {
    const { dataset, state } = this.#filter;
    return (!dataset || job.dataset === dataset) && (!state || job.state === state);
  }

  #append(job) {
    if (this.#rows.has(job.id)) return;
    const row = new JobRow(job);
    this.#rows.set(job.id, row);
    this.#body.append(row.node);
  }

  #arrange() {
    // A page may be empty even if more follow.
    if (this.#rows.size === 0 && !this.#cursor) {
      const { dataset, state } = this.#filter;
      fill(
        this.node,
        dataset || state
          ? empty('No jobs match these filters.')
          : empty('There are no jobs yet. ', h('a', { href: '#/load' }, 'Drop the first file'), '.'),
      );
      return;
    }
    if (!this.#body.isConnected) {
      const head = [
        column('Object'),
        column('State'),
        column('Progress', { class: 'wide' }),
        column('Rows', { class: 'number' }),
        column('Rejected', { class: 'number' }),
        column('Started', { class: 'wide' }),
      ];
      fill(this.node, table('Jobs, newest first', head, this.#body, 'jobs'), this.#outcome, this.#more);
    }
    this.#more.hidden = !this.#cursor;
  }

  async #next() {
    const { dataset, state } = this.#filter;
    this.#more.disabled = true;
    fill(this.#outcome);
    try {
      const page = await get('jobs', { query: { dataset, state, limit: PAGE, cursor: this.#cursor } });
      this.#cursor = page.next;
      for (const job of page.jobs) this.#append(job);
      this.#arrange();
      announce(`${page.jobs.length} more jobs`);
    } catch (error) {
      fill(this.#outcome, problemPanel(error));
    } finally {
      this.#more.disabled = false;
    }
  }
}

class JobRow {
  #state = h('td');
  #bar;
  #rows = h('td', { class: 'number' });
  #rejected = h('td', { class: 'number' });

  constructor(job) {
    const name = fileName(job.object.key);
    this.#bar = bar(`Progress of ${name}`);
    this.node = h(
      'tr',
      {},
      h(
        'th',
        { scope: 'row' },
        h('a', { href: `#/jobs/${encodeURIComponent(job.id)}` }, name),
        h('span', { class: 'muted small under' }, `${job.dataset ?? 'no dataset'} · ${bytes(job.object.size)}`),
      ),
      this.#state,
      h('td', { class: 'wide' }, this.#bar.node),
      this.#rows,
      this.#rejected,
      h(
        'td',
        { class: 'wide nowrap' },
        h('time', { datetime: job.created_at, title: fullTime(job.created_at) }, time(job.created_at)),
      ),
    );
    this.set(job);
  }

  set(job) {
    this.job = job;
    fill(this.#state, badge(job.state));
    this.#bar.set(job.state === 'succeeded' ? 1 : job.progress, job.state);
    fill(this.#rows, job.counts ? number(job.counts.rows) : '–');
    fill(this.#rejected, job.counts ? number(job.counts.rejected) : '–');
    this.#rejected.classList.toggle('some', (job.counts?.rejected ?? 0) > 0);
  }
}
