import { get, post } from './api.js';
import { announce, fill, h, labelled, select } from './dom.js';
import { number } from './format.js';
import { column, empty, fact, loading, numeric, problemPanel, table } from './parts.js';
import { may } from './session.js';
import { state as stateOf } from './view-destinations.js';
import { at, refresh } from './view-sources.js';

const CHANGES = 20;
const STATES = [
  ['set_aside', 'Set aside'],
  ['unknown', 'Outcome unknown'],
  ['waiting', 'Waiting'],
];

/** A destination, what waits for it, and what is done with it. */
export function destinationView(name) {
  const path = `destinations/${encodeURIComponent(name)}`;
  const facts = h('div', {}, loading(name));
  const buttons = actions(path, show);
  const details = h('div');
  const changes = h('div');
  const problem = h('div');
  const choice = select(STATES, 'set_aside', { onchange: () => show() });
  const node = h(
    'section',
    {},
    h('h1', {}, name),
    problem,
    facts,
    buttons.node,
    details,
    h('h2', {}, 'Changes'),
    labelled('Which', choice),
    changes,
  );

  async function show(isStopped = () => false) {
    const state = choice.value;
    try {
      const [destination, page] = await Promise.all([
        get(path, { fresh: true }),
        get(`${path}/changes`, { query: { state, limit: CHANGES }, fresh: true }),
      ]);
      if (isStopped() || state !== choice.value) return;
      fill(problem);
      fill(facts, factsOf(destination));
      buttons.set(destination);
      fill(details, tasksOf(destination), errorsOf(destination));
      fill(changes, changesOf(page, (change) => buttons.redrive({ keys: [change.key] })));
    } catch (error) {
      if (!isStopped()) fill(problem, problemPanel(error, show));
    }
  }

  return { title: name, node, stop: refresh(show) };
}

function factsOf(destination) {
  const { dataset, paused, problem, url, per_second: perSecond } = destination;
  const { waiting, due, leased, set_aside: setAside, unknown, recorded, lag_seconds: lag } = destination;
  return [
    problem && h('div', { class: 'panel warning' }, h('p', {}, problem)),
    paused &&
      h(
        'div',
        { class: 'panel warning' },
        h('p', {}, h('strong', {}, 'The destination has been paused since ', at(paused.at))),
        h('p', {}, `By ${paused.by}. Nothing is sent until it is resumed.`),
      ),
    h(
      'dl',
      { class: 'facts panel' },
      fact('State', stateOf(destination)),
      fact('Waiting', `${number(waiting)} keys: ${number(due)} due, ${number(leased)} being sent`),
      lag !== null && fact('Lag', `${number(lag)} s`),
      fact('Set aside', number(setAside)),
      fact('Outcome unknown', number(unknown)),
      recorded > 0 && fact('Not looked at', `${number(recorded)} changes`),
      fact('Dataset', h('a', { href: `#/data/${encodeURIComponent(dataset)}` }, dataset)),
      fact('Service', h('code', {}, url)),
      fact('Rate', `${number(perSecond)} calls per second`),
    ),
  ];
}

/** The buttons of a destination. */
function actions(path, changed) {
  const failed = h('div');
  async function act(text, action, body) {
    fill(failed);
    try {
      await post(`${path}/${action}`, body);
      await changed();
      announce(`${text}: done`);
    } catch (error) {
      fill(failed, problemPanel(error));
    }
  }
  const button = (text, action, body, kind) => {
    const node = h('button', { type: 'button', class: kind, hidden: true, onclick: pressed }, text);
    async function pressed() {
      node.disabled = true;
      await act(text, action, body);
      node.disabled = false;
    }
    return node;
  };
  const redrive = button('Send all again that failed', 'redrive', { all: true }, null);
  const sync = button('Send existing rows', 'sync', '', 'quiet');
  const pause = button('Pause destination', 'pause', '', 'quiet');
  const resume = button('Resume destination', 'resume', '', null);
  return {
    node: h('div', {}, h('p', { class: 'actions' }, redrive, resume, sync, pause), failed),
    redrive: (body) => act('Send again', 'redrive', body),
    set({ paused, set_aside: setAside, unknown }) {
      redrive.hidden = setAside + unknown === 0 || !may('write');
      sync.hidden = !may('write');
      pause.hidden = paused !== null || !may('admin');
      resume.hidden = paused === null || !may('admin');
    },
  };
}

function tasksOf({ tasks }) {
  if (tasks.length === 0) return null;
  const kinds = { redrive: 'Send again', sync: 'Send existing rows' };
  const head = [column('Task'), column('Requested'), column('Keys', { class: 'number' }), column('Finished')];
  const rows = tasks.map(({ kind, requested_at: requested, requested_by: by, keys, finished_at: end, problem }) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, kinds[kind] ?? kind, problem && h('span', { class: 'muted small under' }, problem)),
      h('td', {}, at(requested), ` by ${by}`),
      numeric(keys),
      h('td', {}, end === null ? '–' : at(end)),
    ),
  );
  return [h('h2', {}, 'Tasks'), table('Tasks, newest first', head, h('tbody', {}, rows))];
}

function errorsOf({ last_errors: errors }) {
  if (errors.length === 0) return null;
  const entries = errors.map((error) => h('li', {}, at(error.at), ` ${error.message}`));
  return [h('h2', {}, 'Last errors'), h('ul', {}, entries)];
}

function changesOf({ changes, next }, redrive) {
  if (changes.length === 0) return empty('There are none.');
  const head = [
    column('Key'),
    column('Answer'),
    column('Changed'),
    column('Attempts', { class: 'number' }),
    column('Action'),
  ];
  const rows = changes.map((change) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, Object.values(change.key).join(', ')),
      h('td', {}, change.answer ?? '–'),
      h('td', {}, at(change.wanted_at)),
      numeric(change.attempts),
      h(
        'td',
        {},
        may('write') && h('button', { type: 'button', class: 'quiet', onclick: () => redrive(change) }, 'Send again'),
      ),
    ),
  );
  return [
    table('Changes', head, h('tbody', {}, rows)),
    next !== null && h('p', { class: 'muted' }, `The first ${CHANGES} are shown.`),
  ];
}
