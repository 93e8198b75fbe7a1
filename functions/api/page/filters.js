import { h, newId, select } from './dom.js';

const OPERATORS = {
  eq: 'is',
  prefix: 'starts with',
  gte: 'at least',
  gt: 'more than',
  lte: 'at most',
  lt: 'less than',
};
const ORDER = ['eq', 'gte', 'gt', 'lte', 'lt'];
const BY_TYPE = { text: ['prefix', ...ORDER], boolean: ['eq'], json: [] };
const HINTS = {
  date: '2026-11-20',
  timestamp: '2026-11-20T12:00:00Z',
  boolean: 'true or false',
  integer: '42',
  decimal: '9.90',
  float: '0.5',
};

const operators = (type) => BY_TYPE[type] ?? ORDER;

/**
 * A form of filters on a dataset's fields. `apply` is called with all of them in the API's form,
 * `field:operator:value`.
 */
export function filterForm(fields, where, apply) {
  const usable = fields.filter(({ type }) => operators(type).length > 0);
  const list = h('ul', { class: 'conditions' });
  const add = h(
    'button',
    { type: 'button', class: 'quiet', onclick: () => append(usable[0].name).querySelector('select').focus() },
    'Add a filter',
  );
  const send = h('button', { class: 'primary' }, 'Apply');
  const clear = h('button', { type: 'button', class: 'quiet', onclick: () => apply([]) }, 'Clear');

  function append(field, operator, text = '') {
    const item = condition(usable, field, operator, text, () => {
      const next = item.nextElementSibling ?? item.previousElementSibling;
      item.remove();
      (next?.querySelector('select') ?? add).focus();
      if (next === null && where.length > 0) apply([]);
      arrange();
    });
    list.append(item);
    arrange();
    return item;
  }

  function arrange() {
    const none = list.children.length === 0;
    list.hidden = none;
    send.hidden = none;
    clear.hidden = none;
  }

  function submit(event) {
    event.preventDefault();
    apply(
      [...list.children].map((item) => [...item.querySelectorAll('[data-part]')].map((part) => part.value).join(':')),
    );
  }

  for (const filter of where) {
    const [field, operator, ...rest] = filter.split(':');
    if (usable.some(({ name }) => name === field)) append(field, operator, rest.join(':'));
  }
  arrange();
  return h(
    'form',
    { class: 'filter-form', 'aria-label': 'Filter rows', onsubmit: submit },
    list,
    h('div', { class: 'actions' }, add, send, clear),
  );
}

function condition(fields, field, operator, text, remove) {
  const name = select(
    fields.map(({ name: other }) => [other, other]),
    field,
    { 'aria-label': 'Field', 'data-part': 'field', onchange: adapt },
  );
  const test = h('select', { 'aria-label': 'Condition', 'data-part': 'operator' });
  const input = h('input', {
    'aria-label': 'Value',
    'data-part': 'value',
    value: text,
    autocomplete: 'off',
    spellcheck: 'false',
    id: newId('value'),
  });

  function adapt() {
    const { type } = fields.find((candidate) => candidate.name === name.value);
    const chosen = test.value || operator;
    test.replaceChildren(...operators(type).map((operator) => h('option', { value: operator }, OPERATORS[operator])));
    if (operators(type).includes(chosen)) test.value = chosen;
    input.placeholder = HINTS[type] ?? '';
    input.inputMode = type === 'integer' || type === 'decimal' ? 'decimal' : 'text';
  }

  adapt();
  return h(
    'li',
    {},
    name,
    test,
    input,
    h(
      'button',
      { type: 'button', class: 'quiet', onclick: remove },
      'Remove',
      h('span', { class: 'unseen' }, ' this filter'),
    ),
  );
}
