// Elements that several views share.

import { Problem } from './api.js';
import { h, newId } from './dom.js';
import { number } from './format.js';

const STATES = {
  open: ['Loading', '◌'],
  succeeded: ['Succeeded', '✓'],
  partial: ['Partial', '!'],
  failed: ['Failed', '✕'],
  cancelled: ['Cancelled', '⊘'],
};

export const stateName = (state) => STATES[state]?.[0] ?? state;

/** The badge of a state, with its name or another text. */
export function badge(state, text = stateName(state)) {
  const mark = STATES[state]?.[1] ?? '';
  return h('span', { class: `badge ${state}` }, h('span', { 'aria-hidden': 'true' }, mark), text);
}

/** Shows an error and what to do about it, with a button to retry if there is a `retry` function. */
export function problemPanel(error, retry) {
  const problem =
    error instanceof Problem
      ? error
      : new Problem({ status: 0, title: 'This page failed', detail: `${error.message}. Reload the page.` });
  if (problem !== error) console.error(error);
  return h(
    'div',
    { class: 'panel problem', role: 'alert' },
    h('p', {}, h('strong', {}, problem.title)),
    h('p', {}, problem.detail),
    problem.requestId && h('p', { class: 'muted small' }, 'Request ', h('code', {}, problem.requestId)),
    retry && h('button', { type: 'button', onclick: retry }, 'Try again'),
  );
}

export const loading = (what) => h('p', { class: 'muted' }, `Loading ${what}…`);

export const empty = (...text) => h('p', { class: 'empty' }, text);

/** A progress bar from 0 to 1 with its percentage; null stands for unknown progress. */
export function bar(label) {
  const progress = h('progress', { max: 1, 'aria-label': label });
  const text = h('span', { class: 'percent', 'aria-hidden': 'true' });
  return {
    node: h('div', { class: 'progress' }, progress, text),
    set(share, state = 'open') {
      progress.className = state;
      if (share === null) {
        progress.removeAttribute('value');
        text.textContent = '';
      } else {
        // Screen readers read the percentage from the element itself.
        progress.value = share;
        text.textContent = `${Math.floor(share * 100)} %`;
      }
    },
  };
}

/** A table in a scrollable region that the keyboard can reach. The caption is for screen readers. */
export function table(caption, head, body, kind = null) {
  const id = newId('caption');
  return h(
    'div',
    { class: 'scroll', role: 'region', tabindex: '0', 'aria-labelledby': id },
    h(
      'table',
      { class: kind },
      h('caption', { id, class: 'unseen' }, caption),
      h('thead', {}, h('tr', {}, head)),
      body,
    ),
  );
}

export const column = (name, attributes = {}) => h('th', { scope: 'col', ...attributes }, name);

export const numeric = (value) =>
  h('td', { class: 'number' }, value === null || value === undefined ? '–' : number(value));

/** A term and its description, for a `<dl>`. */
export const fact = (term, ...content) => h('div', {}, h('dt', {}, term), h('dd', {}, content));
