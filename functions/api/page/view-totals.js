import { get } from './api.js';
import { dataset as datasetOf, datasets } from './datasets.js';
import { announce, fill, h } from './dom.js';
import { value } from './format.js';
import { column, empty, loading, problemPanel, table } from './parts.js';
import { dataHead } from './view-data.js';

const PAGE = 100;

/** A table of totals. */
export function totalsView(name, total) {
  const head = dataHead(name, total);
  const content = h('div', {}, loading('totals'));

  async function start() {
    try {
      const dataset = await datasetOf(name);
      head.set(dataset, await datasets());
      const declared = dataset.totals.find((candidate) => candidate.name === total);
      fill(content, declared ? await totalsPart(name, declared) : empty(`${name} has no totals with that name.`));
    } catch (error) {
      fill(content, problemPanel(error, start));
    }
  }

  start();
  return { title: `${total} of ${name}`, node: h('section', {}, head.nodes, content) };
}

async function totalsPart(name, { name: total, by, columns }) {
  const path = `datasets/${encodeURIComponent(name)}/totals/${encodeURIComponent(total)}`;
  const body = h('tbody');
  const outcome = h('div');
  const more = h('button', { type: 'button', onclick: next }, 'Show more groups');
  let cursor = null;

  async function append() {
    const page = await get(path, { query: { limit: PAGE, cursor } });
    cursor = page.next;
    body.append(
      ...page.totals.map((group) =>
        h(
          'tr',
          {},
          by.map((field, index) => cell(group[field], index === 0)),
          Object.keys(columns).map((column) => h('td', { class: 'number' }, value(group[column]) ?? '–')),
        ),
      ),
    );
    more.hidden = cursor === null;
    return page.totals.length;
  }

  async function next() {
    more.disabled = true;
    fill(outcome);
    try {
      announce(`${await append()} more groups`);
    } catch (error) {
      fill(outcome, problemPanel(error));
    } finally {
      more.disabled = false;
    }
  }

  if ((await append()) === 0) return empty('There are no groups yet, because there are no rows.');
  const head = [
    by.map((field) => column(field)),
    Object.entries(columns).map(([name, formula]) =>
      column([name, h('span', { class: 'muted small under' }, formula)], { class: 'number' }),
    ),
  ];
  return [
    h('p', { class: 'muted' }, `Grouped by ${by.join(' and ')}, and up to date with the rows.`),
    table(`${total} of ${name}`, head, body),
    outcome,
    more,
  ];
}

function cell(content, first) {
  const text = value(content);
  const shown = text === null ? h('span', { class: 'null' }, 'null') : text;
  return first ? h('th', { scope: 'row' }, shown) : h('td', { class: 'text' }, shown);
}
