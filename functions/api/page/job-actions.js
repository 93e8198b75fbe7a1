import { get, post, remove } from './api.js';
import { fill, h } from './dom.js';
import { isFinal } from './live.js';
import { problemPanel } from './parts.js';
import { may } from './session.js';

/** The buttons of a job. `changed` receives the job as it is after a click. */
export function actionsPart({ id, dataset }, changed) {
  const path = `jobs/${encodeURIComponent(id)}`;
  const outcome = h('div');
  const cancel = h(
    'button',
    { type: 'button', class: 'quiet', onclick: () => act(cancel, () => remove(path)) },
    'Cancel job',
  );
  const pause = h(
    'button',
    { type: 'button', class: 'quiet', onclick: () => act(pause, () => pauseOrResume('pause')) },
    `Pause dataset ${dataset}`,
  );
  const resume = h(
    'button',
    { type: 'button', onclick: () => act(resume, () => pauseOrResume('resume')) },
    `Resume dataset ${dataset}`,
  );
  const redrive = h(
    'button',
    { type: 'button', onclick: () => act(redrive, () => post(`${path}/redrive`, '')) },
    'Process failed chunks again',
  );
  const node = h('div', {}, h('p', { class: 'actions' }, resume, pause, cancel, redrive), outcome);

  function set(job) {
    cancel.hidden = isFinal(job) || job.cancelled !== null || !may('write');
    const mayPause = !isFinal(job) && dataset !== null && may('admin');
    pause.hidden = !mayPause || job.paused !== null;
    resume.hidden = !mayPause || job.paused === null;
    redrive.hidden = !isFinal(job) || job.chunks.dead === 0 || !may('write');
    node.hidden = [resume, pause, cancel, redrive].every((button) => button.hidden);
  }

  /** Returns the job as it is afterwards. */
  async function pauseOrResume(action) {
    await post(`datasets/${encodeURIComponent(dataset)}/${action}`, '');
    return get(path, { fresh: true });
  }

  async function act(button, send) {
    button.disabled = true;
    fill(outcome);
    try {
      changed(await send());
    } catch (error) {
      fill(outcome, problemPanel(error));
    } finally {
      button.disabled = false;
    }
  }
  return { node, set };
}
