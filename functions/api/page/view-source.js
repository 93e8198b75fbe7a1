import { get, post } from './api.js';
import { announce, fill, h } from './dom.js';
import { bytes } from './format.js';
import { column, empty, fact, loading, numeric, problemPanel, table } from './parts.js';
import { may } from './session.js';
import { activity, at, next, outcome, refresh } from './view-sources.js';

const RUNS = 20;

/** A source, what is done with it, and its last runs. */
export function sourceView(name) {
  const path = `sources/${encodeURIComponent(name)}`;
  const facts = h('div', {}, loading(name));
  const buttons = actions(path, show);
  const history = h('div');
  const problem = h('div');
  const node = h('section', {}, h('h1', {}, name), problem, facts, buttons.node, history);

  async function show(isStopped = () => false) {
    try {
      const [source, { runs }] = await Promise.all([
        get(path, { fresh: true }),
        get(`${path}/runs`, { query: { limit: RUNS }, fresh: true }),
      ]);
      if (isStopped()) return;
      fill(problem);
      fill(facts, factsOf(source));
      buttons.set(source);
      fill(history, h('h2', {}, 'Runs'), runs.length === 0 ? empty('No run is over yet.') : runsTable(runs));
    } catch (error) {
      if (!isStopped()) fill(problem, problemPanel(error, show));
    }
  }

  return { title: name, node, stop: refresh(show) };
}

function factsOf(source) {
  const { dataset, definition, paused, problem, current_run: run } = source;
  const { url, method, schedule, paging, incremental, complete, secrets } = definition;
  const what = complete ? 'all records; vanished rows are deleted' : incremental ? 'what has changed' : 'all records';
  return [
    problem && h('div', { class: 'panel warning' }, h('p', {}, problem)),
    paused &&
      h(
        'div',
        { class: 'panel warning' },
        h('p', {}, h('strong', {}, 'The source has been paused since ', at(paused.at))),
        h('p', {}, `By ${paused.by}. No run starts until it is resumed.`),
      ),
    h(
      'dl',
      { class: 'facts panel' },
      fact('State', activity(source)),
      run && fact('Current run', `${run.number}, since `, at(run.started_at), run.retry_at && again(run)),
      fact('Next run', next(source)),
      fact('Schedule', schedule),
      fact('Dataset', h('a', { href: `#/data/${encodeURIComponent(dataset)}` }, dataset)),
      fact('Requests', h('code', {}, `${method} ${url}`)),
      fact('Fetches', what),
      paging !== 'none' && fact('Paging', paging),
      secrets.length > 0 && fact('Secrets', secrets.join(', ')),
    ),
  ];
}

/** When the pages of a run are fetched again, after they could not be. */
const again = ({ walks, retry_at, retry_reason }) =>
  ['; walk ', walks, ' over its pages goes on at ', at(retry_at), retry_reason && `: ${retry_reason}`];

/** The buttons of a source. */
function actions(path, changed) {
  const failed = h('div');
  const button = (text, action, kind) => {
    const node = h('button', { type: 'button', class: kind, hidden: true, onclick: act }, text);
    async function act() {
      node.disabled = true;
      fill(failed);
      try {
        await post(`${path}/${action}`, '');
        await changed();
        announce(`${text}: done`);
      } catch (error) {
        fill(failed, problemPanel(error));
      } finally {
        node.disabled = false;
      }
    }
    return node;
  };
  const run = button('Run now', 'run', null);
  const pause = button('Pause source', 'pause', 'quiet');
  const resume = button('Resume source', 'resume', null);
  return {
    node: h('div', {}, h('p', { class: 'actions' }, run, resume, pause), failed),
    set({ paused, problem }) {
      run.hidden = paused !== null || problem !== null || !may('write');
      pause.hidden = paused !== null || !may('admin');
      resume.hidden = paused === null || !may('admin');
    },
  };
}

function runsTable(runs) {
  const head = [
    column('Run', { class: 'number' }),
    column('Outcome'),
    column('Started'),
    column('Records', { class: 'number' }),
    column('Requests', { class: 'number' }),
    column('Size', { class: 'wide' }),
  ];
  const rows = runs.map((run) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'number' }, String(run.number)),
      h(
        'td',
        {},
        outcome(run.outcome),
        run.job && [' ', h('a', { href: `#/jobs/${encodeURIComponent(run.job)}` }, 'job')],
        run.reason && h('span', { class: 'muted small under' }, run.reason),
      ),
      h('td', {}, at(run.started_at)),
      numeric(run.records),
      numeric(run.requests),
      h('td', { class: 'wide nowrap' }, bytes(run.bytes)),
    ),
  );
  return table('Runs, newest first', head, h('tbody', {}, rows));
}
