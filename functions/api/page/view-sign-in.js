import { fill, h, labelled } from './dom.js';
import { problemPanel } from './parts.js';

/** The sign-in form. `signIn` rejects with an error if the token is not accepted. */
export function signInView(message, signIn) {
  const token = h('input', {
    type: 'password',
    name: 'token',
    required: true,
    autocomplete: 'current-password',
    spellcheck: 'false',
    autocapitalize: 'none',
    'aria-describedby': 'token-help',
  });
  const shown = h('input', {
    type: 'checkbox',
    id: 'show-token',
    onchange: () => {
      token.type = shown.checked ? 'text' : 'password';
    },
  });
  const button = h('button', { class: 'primary' }, 'Sign in');
  const outcome = h('div');

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    fill(outcome);
    try {
      await signIn(token.value.trim());
    } catch (error) {
      fill(outcome, problemPanel(error));
      token.setAttribute('aria-invalid', 'true');
      token.focus();
    } finally {
      button.disabled = false;
    }
  }

  const node = h(
    'section',
    { class: 'sign-in' },
    h('h1', {}, 'Sign in'),
    h('p', { class: 'lead' }, 'Drop a file, follow its progress, browse its rows.'),
    message && h('p', { class: 'panel warning', role: 'alert' }, message),
    h(
      'form',
      { class: 'panel', onsubmit: submit },
      labelled('Token', token),
      h('p', { class: 'check' }, shown, h('label', { for: 'show-token' }, 'Show token')),
      h(
        'p',
        { id: 'token-help', class: 'muted small' },
        'It starts with ',
        h('code', {}, 'lf_'),
        '. The local stack prints a link with one; ',
        h('code', {}, 'landfall tokens add'),
        ' creates more. This page keeps it until the tab is closed.',
      ),
      outcome,
      button,
    ),
  );
  return { title: 'Sign in', node };
}
