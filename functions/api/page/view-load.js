import { post } from './api.js';
import { brokenDatasets, choose, chosen, datasets } from './datasets.js';
import { announce, fill, h, labelled, select } from './dom.js';
import { bytes, number, store } from './format.js';
import { watchJob } from './live.js';
import { newDataset } from './new-dataset.js';
import { badge, bar, column, loading, problemPanel, table } from './parts.js';
import { current, may } from './session.js';
import { add, events, uploads } from './uploads.js';

const FORMATS = {
  json: ['application/json', 'JSON array'],
  ndjson: ['application/x-ndjson', 'NDJSON, one object per line'],
  csv: ['text/csv', 'CSV with a header'],
  tsv: ['text/tab-separated-values', 'TSV, as copied from spreadsheets'],
};

/** The choice of a dataset that does not exist yet. */
const NEW = '';

/** The view to drop files and paste rows. */
export function loadView(name) {
  if (name) choose(name);
  const content = h('div', {}, loading('datasets'));
  const node = h('section', {}, h('h1', {}, 'Load'), content);
  const stops = [];
  let stopped = false;

  async function start() {
    try {
      const [all, broken] = [await datasets(), await brokenDatasets()];
      if (stopped) return;
      const none = all.length === 0 && !may('admin');
      fill(content, broken.map(brokenDataset), none ? noDatasets() : !may('write') ? noScope() : form(all));
    } catch (error) {
      fill(content, problemPanel(error, start));
    }
  }

  function form(all) {
    const names = all.map((one) => [one.name, one.name]);
    const choice = select(
      may('admin') ? [...names, [NEW, 'New dataset, from a file']] : names,
      chosen(all)?.name ?? NEW,
      { name: 'dataset', onchange: describe },
    );
    const about = h('div', { class: 'about' });
    const fresh = h('div');
    const sent = sentList(stops);

    function drop(files) {
      if (choice.value !== NEW) return false;
      fill(
        fresh,
        newDataset(files[0], (name) => {
          choose(name);
          start();
        }),
      );
      return true;
    }

    function describe() {
      fill(fresh);
      if (choice.value === NEW) {
        fill(about, h('p', { class: 'muted' }, 'Drop a file. Its definition is inferred, and you can change it.'));
        return;
      }
      choose(choice.value);
      fill(about, description(chosen(all)));
    }

    describe();
    return [
      h('div', { class: 'panel target' }, labelled('Dataset', choice), about),
      h(
        'div',
        { class: 'ways' },
        dropZone(() => choice.value, drop),
        pasteForm(() => choice.value, sent.pasted),
      ),
      fresh,
      sent.node,
    ];
  }

  start();
  return {
    title: 'Load',
    node,
    stop: () => {
      stopped = true;
      for (const stop of stops) stop();
    },
  };
}

const brokenDataset = ({ name, message }) =>
  h(
    'div',
    { class: 'panel warning' },
    h('p', {}, h('strong', {}, `${name} accepts no files: its definition is invalid`)),
    h('p', {}, message),
  );
const noDatasets = () =>
  h(
    'p',
    { class: 'empty' },
    'This token covers no datasets. A dataset is a TOML file in the configuration bucket, ',
    h('code', {}, 'datasets/<name>.toml'),
    '.',
  );
const noScope = () =>
  h(
    'p',
    { class: 'panel warning' },
    'This token can read but not write. Use one with the scope ',
    h('code', {}, 'write'),
    '.',
  );

/** Returns what the key of a dataset means. */
const identity = (key) =>
  key.includes('_offset')
    ? 'Every row is kept: rows are identified by their file and their place in it, so the same file again changes nothing.'
    : `Rows with the same ${key.join(' and ')} replace each other.`;

function description({ mode, order, key, fields, stores }) {
  const rows = fields.map(({ name, type, required }) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, h('code', {}, name)),
      h('td', {}, type),
      h('td', {}, key.includes(name) ? 'part of the key' : required ? 'required' : ''),
    ),
  );
  return [
    h(
      'p',
      { class: 'muted' },
      `${identity(key)} They are written to ${stores.map(store).join(' and ')}.`,
    ),
    order && h('p', { class: 'muted' }, 'Of such rows, the one with the greatest ', h('code', {}, order), ' stays.'),
    mode === 'merge' &&
      h('p', { class: 'muted' }, 'Columns that a file does not have keep their values in rows that exist.'),
    mode === 'snapshot' &&
      h(
        'p',
        { class: 'panel warning' },
        'This dataset is loaded from snapshots: after a complete file, rows that it does not contain are deleted.',
      ),
    h(
      'details',
      {},
      h('summary', {}, fields.length === 1 ? '1 field' : `${fields.length} fields`),
      table('Fields', [column('Name'), column('Type'), column('Constraint')], h('tbody', {}, rows)),
    ),
  ];
}

/** `instead` handles files of a new dataset, and returns whether they are. */
function dropZone(dataset, instead) {
  const input = h('input', {
    type: 'file',
    multiple: true,
    id: 'files',
    class: 'unseen',
    onchange: () => send(input.files),
  });
  const zone = h(
    'div',
    { class: 'drop' },
    input,
    h(
      'label',
      { for: 'files' },
      h('strong', {}, 'Drop files here'),
      h('span', {}, 'or choose them'),
      h(
        'span',
        { class: 'muted small' },
        `CSV, TSV, NDJSON or JSON, up to ${bytes(current().limits.upload_bytes)} each`,
      ),
    ),
  );

  function send(files) {
    const all = [...files];
    if (all.length === 0 || instead(all)) return;
    add(dataset(), all);
    announce(all.length === 1 ? `Sending ${all[0].name}` : `Sending ${all.length} files`);
    input.value = '';
  }

  for (const name of ['dragenter', 'dragover']) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add('over');
    });
  }
  zone.addEventListener('dragleave', (event) => zone.contains(event.relatedTarget) || zone.classList.remove('over'));
  zone.addEventListener('drop', (event) => {
    event.preventDefault();
    zone.classList.remove('over');
    send(event.dataTransfer.files);
  });
  return h(
    'section',
    { class: 'panel way', 'aria-labelledby': 'files-heading' },
    h('h2', { id: 'files-heading' }, 'Files'),
    zone,
  );
}

/** Guesses the format of a text: an array, objects, or else cells. */
function guess(text) {
  const [first] = text.trimStart().split('\n', 1);
  if (first.startsWith('[')) return 'json';
  if (first.startsWith('{')) return 'ndjson';
  return first.includes('\t') ? 'tsv' : 'csv';
}

function pasteForm(dataset, pasted) {
  const most = current().limits.body_bytes;
  const format = select(
    Object.entries(FORMATS).map(([value, [, label]]) => [value, label]),
    'json',
    { name: 'format' },
  );
  const text = h('textarea', {
    name: 'rows',
    rows: '7',
    required: true,
    spellcheck: 'false',
    placeholder: '[{"…": "…"}]',
    'aria-describedby': 'paste-help',
    oninput: () => {
      if (text.value.trim()) format.value = guess(text.value);
    },
  });
  const outcome = h('div');
  const button = h('button', { class: 'primary' }, 'Send rows');

  async function submit(event) {
    event.preventDefault();
    fill(outcome);
    const size = new Blob([text.value]).size;
    if (size > most) {
      fill(
        outcome,
        h(
          'p',
          { class: 'panel warning', role: 'alert' },
          `The rows have ${bytes(size)}; a request can have ${bytes(most)}. Drop them as a file instead.`,
        ),
      );
      return;
    }
    button.disabled = true;
    try {
      const [type] = FORMATS[format.value];
      const name = dataset();
      const { job } = await post(`datasets/${encodeURIComponent(name)}/rows`, text.value, { type });
      pasted(name, job, size);
      text.value = '';
      announce('Rows sent');
    } catch (error) {
      fill(outcome, problemPanel(error));
    } finally {
      button.disabled = false;
    }
  }

  return h(
    'section',
    { class: 'panel way', 'aria-labelledby': 'paste-heading' },
    h('h2', { id: 'paste-heading' }, 'Rows'),
    h(
      'form',
      { onsubmit: submit },
      labelled('Paste rows', text),
      h('p', { id: 'paste-help', class: 'muted small' }, `Up to ${bytes(most)}.`),
      outcome,
      h('div', { class: 'row' }, labelled('Format', format), button),
    ),
  );
}

/** The rows pasted in this tab, newest first. */
const pastes = [];

function sentList(stops) {
  const list = h('ul', { class: 'sent' });
  const node = h(
    'section',
    { 'aria-labelledby': 'sent-heading' },
    h('h2', { id: 'sent-heading' }, 'Sent in this tab'),
    list,
  );
  const put = (item) => {
    list.prepend(item);
    node.hidden = false;
  };
  node.hidden = true;
  for (const { dataset, job, size } of [...pastes].reverse()) put(pasteItem(dataset, job, size, stops));
  for (const upload of [...uploads].reverse()) put(uploadItem(upload, stops));
  const added = ({ detail }) => put(uploadItem(detail, stops));
  events.addEventListener('added', added);
  stops.push(() => events.removeEventListener('added', added));
  return {
    node,
    pasted(dataset, job, size) {
      pastes.unshift({ dataset, job, size });
      put(pasteItem(dataset, job, size, stops));
    },
  };
}

function pasteItem(dataset, job, size, stops) {
  const item = sentItem('Pasted rows', `${dataset} · ${bytes(size)}`);
  item.follow(job, stops);
  return item.node;
}

function uploadItem(upload, stops) {
  const item = sentItem(upload.name, `${upload.dataset} · ${bytes(upload.size)}`);
  const cancel = h(
    'button',
    { type: 'button', class: 'quiet', onclick: () => upload.cancel() },
    'Cancel',
    h('span', { class: 'unseen' }, ` ${upload.name}`),
  );
  let following = false;

  function change() {
    const { state, sent, size, job, problem } = upload;
    if (state === 'waiting') item.say('Queued', 0, cancel);
    else if (state === 'sending')
      item.say(
        `Sending: ${bytes(Math.min(sent, size))} of ${bytes(size)}`,
        size > 0 ? Math.min(1, sent / size) : null,
        cancel,
      );
    else if (state === 'cancelled') item.say('Cancelled');
    else if (state === 'failed') item.say(problemPanel(problem));
    else if (!job) item.say('Sent. Waiting for the job', null);
    else if (!following) {
      following = true;
      item.follow(job, stops);
    }
  }

  upload.addEventListener('change', change);
  stops.push(() => upload.removeEventListener('change', change));
  change();
  return item.node;
}

function sentItem(name, about) {
  const title = h('strong', {}, name);
  const text = h('div', { class: 'says' });
  const progress = bar(`Progress of ${name}`);
  const node = h(
    'li',
    { class: 'panel' },
    h('p', { class: 'title' }, title, h('span', { class: 'muted small' }, about)),
    progress.node,
    text,
  );

  function say(content, share, action) {
    progress.node.hidden = share === undefined;
    if (share !== undefined) progress.set(share);
    fill(text, content, action && ' ', action);
  }

  function follow(job, stops) {
    fill(title, h('a', { href: `#/jobs/${encodeURIComponent(job)}` }, name));
    say('Sent. Waiting for the job', null);
    stops.push(
      watchJob(job, ({ state, progress: share, counts }) => {
        progress.node.hidden = false;
        progress.set(state === 'succeeded' ? 1 : share, state);
        const rows = counts ? `${number(counts.rows)} rows, ${number(counts.rejected)} rejected` : 'reading';
        fill(text, badge(state), ` ${rows}`);
      }),
    );
  }

  return { node, say, follow };
}
