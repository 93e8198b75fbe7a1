// A new dataset: its definition is inferred from a file, can be changed and checked, and is created with the file.

import { post } from './api.js';
import { forget } from './datasets.js';
import { definitionForm } from './definition-form.js';
import { announce, fill, h, labelled } from './dom.js';
import { number } from './format.js';
import { column, loading, problemPanel, table } from './parts.js';
import { add } from './uploads.js';

/** The bytes of a file that the API looks at. */
const START = 1024 * 1024;
const REASONS = 10;

/** Returns the name of a dataset for a file. */
export function datasetName(file) {
  const unpacked = file.toLowerCase().replace(/\.(gz|gzip|zst|zstd|bz2|zip)$/, '');
  const words = unpacked.replace(/\.[^.]*$/, '').split(/[^a-z0-9]+/);
  const name = words.filter(Boolean).join('_').replace(/^[^a-z]+/, '');
  return name.slice(0, 48) || 'dataset';
}

/** Shows the definition that is inferred from a file. Calls `created` with the name of the dataset once it exists. */
export function newDataset(file, created) {
  const node = h('section', { class: 'panel', 'aria-labelledby': 'new-heading' });
  const heading = h('h2', { id: 'new-heading' }, `A dataset for ${file.name}`);
  const name = h('input', {
    name: 'name',
    required: true,
    pattern: '[a-z][a-z0-9_]*',
    maxlength: '48',
    onchange: choose,
  });
  name.value = datasetName(file.name);
  const fields = definitionForm(choose);
  const definition = h('textarea', {
    name: 'definition',
    rows: '16',
    spellcheck: 'false',
    onchange: () => preview({ definition: definition.value }),
  });
  const outcome = h('div', { 'aria-live': 'polite' }, loading('preview'));
  const content = start(file);
  let latest = 0;
  /** Whether the latest preview succeeds. */
  let previewed;

  function preview(of = {}) {
    previewed = show(of);
    return previewed;
  }

  async function show(of) {
    latest += 1;
    const mine = latest;
    outcome.setAttribute('aria-busy', 'true');
    let shown;
    try {
      const about = { dataset: name.value, name: file.name, size: file.size, start: await content };
      const answer = await post('previews', { ...about, ...of });
      if (mine !== latest) return previewed;
      definition.value = answer.definition;
      name.value = answer.form.name;
      fields.show(answer.form);
      shown = report(answer.report);
      return true;
    } catch (error) {
      shown = problemPanel(error);
      return false;
    } finally {
      if (mine === latest) {
        fill(outcome, shown);
        outcome.removeAttribute('aria-busy');
      }
    }
  }

  /** Has the definition rewritten for what is chosen in the form. */
  function choose() {
    if (definition.value === '') return preview();
    const choices = { name: name.value, ...fields.choices() };
    return preview({ definition: definition.value, choices });
  }

  async function create(event) {
    event.preventDefault();
    if (!(await previewed)) return;
    try {
      const dataset = await post('datasets', { definition: definition.value });
      forget();
      add(dataset.name, [file]);
      announce(`Sending ${file.name}`);
      created(dataset.name);
    } catch (error) {
      fill(outcome, problemPanel(error));
    }
  }

  fill(
    node,
    heading,
    h(
      'form',
      { class: 'definition', onsubmit: create },
      labelled('Name', name),
      fields.node,
      h(
        'details',
        {},
        h('summary', {}, 'Edit the definition as text'),
        labelled('Definition', definition),
        h('button', { type: 'button', onclick: () => preview({ definition: definition.value }) }, 'Check'),
      ),
      h(
        'div',
        { class: 'row' },
        h('button', { type: 'button', onclick: () => preview() }, 'Infer again'),
        h('button', { class: 'primary' }, 'Create and load'),
      ),
      outcome,
    ),
  );
  preview();
  return node;
}

/** Returns the start of a file in base64. */
function start(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file.slice(0, START));
  });
}

function report({ rows, rejected, problem, warnings, rejects, first_rows }) {
  const names = [...new Set(first_rows.flatMap(({ row }) => Object.keys(row)))];
  const text = (value) => (typeof value === 'object' && value !== null ? JSON.stringify(value) : (value ?? ''));
  const cells = (row) => names.map((name) => h('td', {}, text(row[name])));
  const body = first_rows.map(({ row }) => h('tr', {}, cells(row)));
  const places = rejects.flatMap(({ first }) => first).slice(0, REASONS);
  return [
    problem && h('p', { class: 'panel warning' }, problem.message),
    h('p', {}, `${number(rows)} rows were looked at, ${number(rejected)} of them would be rejected.`),
    warnings.map(({ message }) => h('p', { class: 'muted' }, message)),
    places.length > 0 && h('ul', {}, places.map(({ line, message }) => h('li', {}, `Line ${line}: ${message}`))),
    names.length > 0 && table('First rows', names.map((name) => column(name)), h('tbody', {}, body)),
  ];
}
