import { post } from './api.js';
import { announce, fill, h } from './dom.js';
import { loading, problemPanel } from './parts.js';
import { current, may } from './session.js';
import { Upload } from './uploads.js';

/** What to do about the rejects of a job, and the upload of fixed ones. */
export function fixedPart(job) {
  const outcome = h('div', { 'aria-live': 'polite' });
  const input = h('input', { type: 'file', id: 'fixed', class: 'unseen', onchange: choose });
  const label = h('label', { for: 'fixed', class: 'button' }, 'Upload fixed rejects');

  async function choose() {
    const [file] = input.files;
    input.value = '';
    if (!file) return;
    fill(outcome, loading(`${file.name} into the inbox`));
    try {
      const id = await send(job, file);
      fill(outcome, h('p', {}, 'The fixed rejects have ', h('a', { href: `#/jobs/${id}` }, 'a job of their own'), '.'));
      announce(`${file.name} uploaded`);
    } catch (error) {
      fill(outcome, problemPanel(error));
    }
  }

  return h(
    'div',
    { class: 'panel' },
    h(
      'p',
      {},
      'To fix them, download all, correct ',
      h('code', {}, 'record'),
      ' in each line, and upload the file here. Where there is no ',
      h('code', {}, 'record'),
      ', the record could not be divided into columns: add one, an object with the columns, or remove the line. ',
      'Leave the rest of each line as it is, because it says where the record is in the file.',
    ),
    h(
      'p',
      { class: 'muted' },
      'The rows then count as rows of this file: they do not overwrite newer rows. ',
      'No row is deleted because the fixed rejects lack it, as after a snapshot.',
    ),
    may('write') && h('p', { class: 'actions' }, input, label),
    outcome,
  );
}

/** Sends fixed rejects, and returns the id of their job. Small files are checked at once. */
async function send(job, file) {
  if (file.size <= current().limits.body_bytes) {
    const path = `jobs/${encodeURIComponent(job.id)}/rejects`;
    const accepted = await post(path, file, { type: 'application/x-ndjson' });
    return accepted.job;
  }
  const upload = new Upload(job.dataset, file, job.id);
  await upload.run();
  if (upload.problem) throw upload.problem;
  return upload.job;
}
