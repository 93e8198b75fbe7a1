import { get } from './api.js';
import { dataset as datasetOf, storeParameter } from './datasets.js';
import { fill, h } from './dom.js';
import { store, value } from './format.js';
import { loading, problemPanel } from './parts.js';

/** One row with all its values, from one of the stores. */
export function rowView(name, key, query) {
  const back = `#/data/${encodeURIComponent(name)}`;
  const content = h('div');
  const node = h(
    'section',
    {},
    h('p', { class: 'crumbs' }, h('a', { href: back }, name), ' /'),
    h('h1', { class: 'key' }, key.join(', ')),
    content,
  );

  async function update(next) {
    query = next;
    fill(content, loading('the row'));
    try {
      const dataset = await datasetOf(name);
      const kinds = dataset.stores.map(storeParameter);
      const chosen = kinds.includes(query.get('store')) ? query.get('store') : kinds[0];
      const parts = key.map(encodeURIComponent).join(',');
      const row = await get(`datasets/${encodeURIComponent(name)}/rows/${encodeURIComponent(parts)}`, {
        query: { store: chosen },
      });
      fill(content, storeLinks(dataset.stores, chosen), facts(dataset, row));
    } catch (error) {
      fill(content, problemPanel(error, error.status === 404 ? null : () => update(query)));
    }
  }

  function storeLinks(stores, chosen) {
    const path = `${back}/rows/${key.map(encodeURIComponent).join('/')}`;
    return h(
      'nav',
      { class: 'tabs', 'aria-label': 'Stores' },
      stores.map((kind) =>
        h(
          'a',
          {
            href: `${path}?store=${storeParameter(kind)}`,
            'aria-current': storeParameter(kind) === chosen ? 'page' : null,
          },
          store(kind),
        ),
      ),
    );
  }

  update(query);
  return { title: key.join(', '), node, update };
}

function facts({ fields, key }, row) {
  const extra = row._extra === undefined || row._extra === null ? [] : [{ name: '_extra', type: 'json' }];
  return h(
    'dl',
    { class: 'facts panel' },
    [...fields, ...extra].map(({ name, type }) =>
      h(
        'div',
        {},
        h('dt', {}, name, h('span', { class: 'muted small' }, key.includes(name) ? ` ${type}, key` : ` ${type}`)),
        h('dd', {}, content(row[name], type)),
      ),
    ),
  );
}

function content(raw, type) {
  const text = value(raw);
  if (text === null) return h('span', { class: 'null' }, 'null');
  return type === 'json' ? h('pre', { class: 'raw', tabindex: '0' }, JSON.stringify(raw, null, 2)) : text;
}
