import { download, get } from './api.js';
import { choose, chosen, dataset as datasetOf, datasets, storeParameter } from './datasets.js';
import { announce, fill, h, labelled, select } from './dom.js';
import { filterForm } from './filters.js';
import { store, value } from './format.js';
import { isFinal, watchDataset } from './live.js';
import { column, empty, loading, problemPanel, table } from './parts.js';

const SIZES = ['25', '50', '100', '200'];
const SIZE = '50';
const RELEVANCE = 'relevance';

/** The previous cursor of each cursor, because the API only pages forward. */
const before = new Map();

/** The rows of a dataset, page by page. The URL holds filters, order and page. */
export function dataView(name, query) {
  if (!name) return chooseView();
  choose(name);
  const head = dataHead(name, 'rows');
  const content = h('div', {}, loading(name));
  const node = h('section', {}, head.nodes, content);
  let stopWatching = () => {};
  let rows = null;
  let stopped = false;

  async function start() {
    try {
      const [found, since] = await Promise.all([datasetOf(name), lastClose(name)]);
      rows = rowsPart(found, () => location.hash);
      const all = await datasets();
      if (stopped) return;
      head.set(found, all);
      fill(content, rows.nodes);
      rows.update(query);
      stopWatching = watchCloses(name, since, rows.offerReload);
    } catch (error) {
      fill(content, problemPanel(error, start));
    }
  }

  start();
  return {
    title: name,
    node,
    stop: () => {
      stopped = true;
      stopWatching();
    },
    update: (next) => {
      query = next;
      rows?.update(next, true);
    },
  };
}

function chooseView() {
  const content = h('div', {}, loading('datasets'));
  datasets().then(
    (all) =>
      all.length > 0
        ? location.replace(`#/data/${encodeURIComponent(chosen(all).name)}`)
        : fill(content, empty('This token covers no datasets.')),
    (error) => fill(content, problemPanel(error)),
  );
  return { title: 'Data', node: h('section', {}, h('h1', {}, 'Data'), content) };
}

/**
 * The heading that rows and totals share. It is shown at once, to receive the focus; `set` adds the other datasets and
 * the tables of this one when they are known.
 */
export function dataHead(name, shown) {
  const choice = h('div');
  const tabs = h('div');
  const path = (dataset) => `#/data/${encodeURIComponent(dataset)}`;
  const link = (href, text, target) => h('a', { href, 'aria-current': target === shown ? 'page' : null }, text);

  function set({ totals }, all) {
    const names = all.map(({ name: other }) => [other, other]);
    const chosen = select(names, name, {
      onchange: () => {
        location.hash = path(chosen.value);
      },
    });
    fill(choice, names.length > 1 && labelled('Dataset', chosen));
    const totalsLinks = totals.map((total) =>
      link(`${path(name)}/totals/${encodeURIComponent(total.name)}`, total.name, total.name),
    );
    fill(
      tabs,
      totals.length > 0 &&
        h('nav', { class: 'tabs', 'aria-label': 'Tables of this dataset' }, link(path(name), 'Rows', 'rows'), totalsLinks),
    );
  }
  return { nodes: [h('div', { class: 'heading' }, h('h1', {}, name), choice), tabs], set };
}

/** Returns when the last of the newest jobs closed, by the server's clock, before any row is read. */
async function lastClose(dataset) {
  const { jobs } = await get('jobs', { query: { dataset, limit: 20 }, fresh: true });
  return Math.max(0, ...jobs.filter(isFinal).map(closedAt));
}

const closedAt = (job) => Date.parse(job.closed_at);

/** Calls `closed` when a job closes after that. */
function watchCloses(name, since, closed) {
  const final = new Set();
  return watchDataset(name, (job) => {
    if (!isFinal(job) || final.has(job.id)) return;
    final.add(job.id);
    if (closedAt(job) > since) closed();
  });
}

function rowsPart(dataset, address) {
  const path = `datasets/${encodeURIComponent(dataset.name)}/rows`;
  const controls = h('div', { class: 'controls' });
  const news = h('div', { role: 'status' });
  const content = h('div', { class: 'rows' });
  let shown = 0;
  let query = null;

  /** Returns the URL of these rows with other parameters, from the first page unless `keepPage`. */
  function addressOf(changes, keepPage = false) {
    const next = new URLSearchParams(query);
    if (!keepPage) for (const name of ['after', 'page']) next.delete(name);
    for (const [name, content] of Object.entries(changes)) {
      next.delete(name);
      for (const item of [content].flat()) if (item) next.append(name, item);
    }
    return `#/data/${encodeURIComponent(dataset.name)}?${next}`;
  }

  async function update(next, moved = false, fresh = false) {
    query = next;
    shown += 1;
    const now = shown;
    const parameters = parametersOf(query, dataset);
    fill(news);
    drawControls(parameters);
    content.setAttribute('aria-busy', 'true');
    try {
      const page = await get(path, { query: parameters, fresh });
      if (now !== shown) return;
      draw(page, parameters);
      if (moved) announce(page.rows.length === 0 ? 'No rows' : `Page ${pageNumber()}, ${page.rows.length} rows`);
    } catch (error) {
      if (now === shown)
        fill(
          content,
          problemPanel(error, () => update(query)),
        );
    } finally {
      if (now === shown) content.removeAttribute('aria-busy');
    }
  }

  const pageNumber = () => Number(query.get('page') ?? 1);

  function drawControls(parameters) {
    const stores = dataset.stores.map((kind) => [storeParameter(kind), store(kind)]);
    const from = select(stores, parameters.store, {
      id: 'rows-store',
      onchange: () => {
        location.hash = addressOf({ store: from.value });
      },
    });
    const size = select(
      SIZES.map((size) => [size, size]),
      parameters.limit,
      {
        id: 'rows-size',
        onchange: () => {
          location.hash = addressOf({ limit: size.value });
        },
      },
    );
    const focused = document.activeElement?.id;
    fill(
      controls,
      dataset.search && parameters.store === 'sql' && searchForm(parameters),
      filterForm(dataset.fields, query.getAll('where'), (where) => {
        const target = addressOf({ where });
        if (target === address()) update(query, true, true);
        else location.hash = target;
      }),
      h('div', { class: 'filters' }, stores.length > 1 && labelled('Read from', from), labelled('Rows per page', size)),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  function searchForm({ search }) {
    const input = h('input', {
      type: 'search',
      id: 'rows-search',
      value: search ?? '',
      maxlength: 200,
      placeholder: 'gard   gard*   "front garden"',
      autocomplete: 'off',
    });
    const best = h('input', { type: 'checkbox', id: 'rows-best', checked: query.get('sort') === RELEVANCE });
    function submit(event) {
      event.preventDefault();
      const words = input.value.trim();
      const sort = words && best.checked ? RELEVANCE : query.get('sort');
      const target = addressOf({ search: words, sort: !best.checked && sort === RELEVANCE ? null : sort });
      if (target === address()) update(query, true, true);
      else location.hash = target;
    }
    return h(
      'form',
      { class: 'filters', role: 'search', 'aria-label': `Search ${dataset.search.join(', ')}`, onsubmit: submit },
      labelled(`Search ${dataset.search.join(', ')}`, input),
      h('label', { class: 'check', for: 'rows-best' }, best, 'Best matches first'),
      h('button', {}, 'Search'),
    );
  }

  function draw(page, parameters) {
    const focused = document.activeElement?.dataset?.keep;
    const here = query.get('after') ?? '';
    if (page.next && !before.has(page.next)) before.set(page.next, here);
    const back = before.get(here);
    const step = (text, keep, changes, isPossible) =>
      h(
        'a',
        {
          class: 'button',
          'data-keep': keep,
          href: isPossible ? addressOf(changes, true) : null,
          'aria-disabled': isPossible ? null : 'true',
          role: isPossible ? null : 'link',
        },
        text,
      );
    const number = pageNumber();
    const pager = h(
      'nav',
      { class: 'pager', 'aria-label': 'Pages' },
      step('First', 'first', { after: null, page: null }, here !== ''),
      step(
        'Previous',
        'previous',
        { after: back, page: number > 2 ? String(number - 1) : null },
        here !== '' && back !== undefined,
      ),
      h('span', { class: 'muted', 'aria-current': 'page' }, `Page ${number}`),
      step('Next', 'next', { after: page.next, page: String(number + 1) }, page.next !== null),
      save('CSV', 'text/csv', 'csv', parameters),
      save('NDJSON', 'application/x-ndjson', 'ndjson', parameters),
    );
    fill(content, page.rows.length === 0 ? noRows(here) : rowsTable(dataset, page.rows, parameters, addressOf), pager);
    if (focused) content.querySelector(`[data-keep="${focused}"]`)?.focus();
  }

  function noRows(here) {
    if (here)
      return empty('There are no more rows. ', h('a', { href: addressOf({}) }, 'Back to the first page'), '.');
    if (query.get('search')) return empty('No rows match this search.');
    if (query.getAll('where').length > 0) return empty('No rows match these filters.');
    return empty(
      'There are no rows yet. ',
      h('a', { href: `#/load/${encodeURIComponent(dataset.name)}` }, 'Drop a file'),
      '.',
    );
  }

  function save(text, accept, extension, parameters) {
    const button = h(
      'button',
      { type: 'button', class: 'quiet', 'data-keep': extension, onclick: saveFile },
      text,
      h('span', { class: 'unseen' }, ' of this page, as a file'),
    );
    async function saveFile() {
      button.disabled = true;
      try {
        await download(path, { query: parameters, accept, name: `${dataset.name}.${extension}` });
      } catch (error) {
        content.append(problemPanel(error));
      } finally {
        button.disabled = false;
      }
    }
    return button;
  }

  /** Offers to reload the rows after a file was ingested. */
  function offerReload() {
    fill(
      news,
      h(
        'p',
        { class: 'panel news' },
        'A file has been ingested since these rows were read. ',
        h('button', { type: 'button', onclick: () => update(query, true, true) }, 'Reload rows'),
      ),
    );
  }

  return { nodes: [controls, h('div', {}, news, content)], update, offerReload };
}

/** Returns the API's parameters for the query of a URL. */
function parametersOf(query, { stores, search }) {
  const kinds = stores.map(storeParameter);
  const chosen = query.get('store');
  const from = kinds.includes(chosen) ? chosen : kinds.includes('sql') ? 'sql' : kinds[0];
  const words = search && from === 'sql' ? query.get('search') : null;
  const sort = query.get('sort');
  return {
    store: from,
    limit: SIZES.includes(query.get('limit')) ? query.get('limit') : SIZE,
    sort: sort === RELEVANCE && !words ? null : sort,
    search: words,
    where: query.getAll('where'),
    cursor: query.get('after'),
  };
}

function rowsTable({ name, key, fields }, rows, parameters, addressOf) {
  const ordered = [
    ...key.map((part) => fields.find((field) => field.name === part)),
    ...fields.filter((field) => !key.includes(field.name)),
  ];
  const extra = rows.some((row) => row._extra !== undefined && row._extra !== null);
  const head = [ordered.map((field) => heading(field, key, parameters.sort, addressOf)), extra && column('_extra')];
  const query = new URLSearchParams({ store: parameters.store });
  const body = rows.map((row) => {
    const path = key.map((part) => encodeURIComponent(value(row[part]) ?? '')).join('/');
    const link = h(
      'a',
      { href: `#/data/${encodeURIComponent(name)}/rows/${path}?${query}` },
      value(row[key[0]]) || '(empty)',
    );
    const cells = ordered
      .slice(1)
      .map(({ name: field, type }) => cell(row[field], type, row._highlight?.[field]));
    return h('tr', {}, h('th', { scope: 'row' }, link), cells, extra && cell(row._extra, 'json'));
  });
  return table(`Rows of ${name}`, head, h('tbody', {}, body));
}

function heading({ name, type, indexed }, key, sort, addressOf) {
  const attributes = { class: isNumber(type) ? 'number' : null };
  if (!indexed && name !== key[0]) return column(name, attributes);
  const [up, down] = [sort === name, sort === `-${name}`];
  const next = up ? `-${name}` : down ? null : name;
  const order = up ? 'ascending' : down ? 'descending' : null;
  const then = up ? 'sort descending' : down ? 'sort by key' : 'sort ascending';
  return column(
    h(
      'a',
      { class: 'sort', href: addressOf({ sort: next }), 'data-keep': `sort-${name}` },
      name,
      h('span', { 'aria-hidden': 'true' }, up ? ' ↑' : down ? ' ↓' : ' ↕'),
      h('span', { class: 'unseen' }, `, ${then}`),
    ),
    { ...attributes, 'aria-sort': order },
  );
}

const isNumber = (type) => ['integer', 'decimal', 'float'].includes(type);

/** Returns a cell with a value, or with the part of it that matches a search. */
function cell(content, type, highlight) {
  const text = value(content);
  const marked = highlight?.map(({ text: part, match }) => (match ? h('mark', {}, part) : part));
  return h(
    'td',
    { class: isNumber(type) ? 'number' : 'text', title: marked ? text : null },
    marked ?? (text === null ? h('span', { class: 'null' }, 'null') : text),
  );
}
