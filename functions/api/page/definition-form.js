// The fields and the key of a definition as form controls. The server rewrites the definition for what is chosen.

import { fill, h, select } from './dom.js';
import { column, table } from './parts.js';

const TYPES = ['text', 'integer', 'decimal', 'float', 'boolean', 'date', 'timestamp', 'json'];
/** Types whose values identify no row. */
const NO_KEY = ['float', 'json'];
const HEAD = ['Column', 'Name', 'Type', 'Required', 'Key', 'Note'];

/** Returns the controls. `change` is called after each choice. */
export function definitionForm(change) {
  const node = h('div', { class: 'fields', hidden: true });
  const about = h('p', { class: 'muted' });
  let rows = [];

  function show({ key, key_note, fields }) {
    const columns = fields.map((field) => field.column);
    // What somebody is typing stays, and so does the focus.
    if (columns.join('\n') !== rows.map((row) => row.column).join('\n')) {
      rows = columns.map((name, index) => fieldRow(name, index, change));
      const body = h('tbody', {}, rows.map((row) => row.node));
      fill(node, table('Fields', HEAD.map((name) => column(name)), body, 'controls-table'), about);
    }
    fields.forEach((field, index) => rows[index].show(field, key.includes(field.name)));
    const what =
      key.length === 0
        ? 'Without a key, every row is kept, identified by its place in its file.'
        : `Rows with the same ${key.join(' and ')} replace each other.`;
    about.textContent = key_note ? `${what} Note: ${key_note}.` : what;
    node.hidden = false;
  }

  return {
    node,
    show,
    /** Returns what is chosen. */
    choices: () => ({
      key: rows.filter((row) => row.isKey()).map((row) => row.choice().name),
      fields: rows.map((row) => row.choice()),
    }),
  };
}

function fieldRow(name, index, change) {
  const of = (what) => ({ name: `${what}-${index}`, 'aria-label': `${what} of column ${name}`, onchange: change });
  const check = (what) => h('input', { type: 'checkbox', ...of(what) });
  const called = h('input', { ...of('Name'), required: true, maxlength: '63', autocomplete: 'off', spellcheck: 'false' });
  const type = select(TYPES.map((word) => [word, word]), 'text', of('Type'));
  const [required, key] = [check('Required'), check('Key')];
  const note = h('td', { class: 'muted small' });
  const cells = [called, type, required, key].map((control) => h('td', {}, control));
  return {
    column: name,
    node: h('tr', {}, h('th', { scope: 'row' }, h('code', {}, name)), cells, note),
    isKey: () => key.checked,
    choice: () => ({ name: called.value, type: type.value, required: required.checked }),
    show(field, isKey) {
      if (document.activeElement !== called) called.value = field.name;
      type.value = field.type;
      required.checked = field.required;
      // Rows always have a value for their key.
      required.disabled = isKey;
      key.checked = isKey;
      key.disabled = NO_KEY.includes(field.type);
      note.textContent = field.note;
    },
  };
}
