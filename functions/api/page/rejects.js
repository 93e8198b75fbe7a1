import { download, get } from './api.js';
import { announce, fill, h, setText } from './dom.js';
import { fixedPart } from './fixed.js';
import { bytes, fileName, number } from './format.js';
import { isFinal } from './live.js';
import { column, loading, problemPanel, table } from './parts.js';

const PAGE = 25;
const EXCERPT = 160;

/** The rejects of a job: place, reason and record. */
export function rejectsPart(job) {
  const path = `jobs/${encodeURIComponent(job.id)}/rejects`;
  const count = h('p', { class: 'muted' });
  const body = h('tbody');
  const list = h('div');
  const outcome = h('div');
  const more = h('button', { type: 'button', onclick: next }, 'Show rejects');
  const save = h('button', { type: 'button', onclick: saveAll }, 'Download all (NDJSON)');
  const node = h(
    'section',
    { hidden: true },
    h('h2', {}, 'Rejects'),
    count,
    list,
    outcome,
    h('p', { class: 'actions' }, more, save),
    fixedPart(job),
  );
  let cursor = null;
  let shown = 0;
  let closed = false;
  let reading = 0;

  function set(now) {
    const rejected = now.counts?.rejected ?? 0;
    node.hidden = rejected === 0;
    const soFar = isFinal(now) ? '' : ' so far';
    const records = rejected === 1 ? 'record' : 'records';
    setText(count, `${number(rejected)} ${records} could not be ingested${soFar}.`);
    save.hidden = !isFinal(now);
    if (closed || !isFinal(now)) return;
    closed = true;
    if (rejected > 0) restart();
  }

  /** Reads all rejects again once the job is closed: while it is open, they are added in any order. */
  function restart() {
    cursor = null;
    shown = 0;
    fill(body);
    next();
  }

  async function next() {
    reading += 1;
    const now = reading;
    const isFirst = shown === 0;
    more.disabled = true;
    fill(outcome, isFirst && loading('rejects'));
    try {
      const page = await get(path, { query: { limit: PAGE, cursor }, fresh: true });
      if (now !== reading) return;
      cursor = page.next;
      shown += page.rejects.length;
      if (!list.hasChildNodes()) fill(list, rejectsTable(body));
      body.append(...page.rejects.map(row));
      fill(outcome);
      more.hidden = cursor === null;
      setText(more, 'Show more rejects');
      if (!isFirst) announce(`${page.rejects.length} more rejects, ${shown} shown`);
    } catch (error) {
      if (now === reading) fill(outcome, problemPanel(error));
    } finally {
      if (now === reading) more.disabled = false;
    }
  }

  async function saveAll() {
    save.disabled = true;
    fill(outcome);
    try {
      await download(path, {
        query: {},
        all: true,
        accept: 'application/x-ndjson',
        name: `${fileName(job.object.key)}.rejects.ndjson`,
      });
      announce('Rejects downloaded');
    } catch (error) {
      fill(outcome, problemPanel(error));
    } finally {
      save.disabled = false;
    }
  }

  return { node, set };
}

function rejectsTable(body) {
  const head = [column('Line', { class: 'number' }), column('Column'), column('Reason'), column('Record')];
  return table('Rejected records', head, body, 'rejects');
}

function row({ line, offset, column: source, code, message, raw, raw_bytes }) {
  return h(
    'tr',
    {},
    h('th', { scope: 'row', class: 'number', title: `Byte ${offset}` }, number(line)),
    h('td', {}, source ? h('code', {}, source) : h('span', { class: 'muted' }, 'whole record')),
    h('td', {}, message, h('span', { class: 'muted small under' }, code.replaceAll('_', ' '))),
    h('td', {}, record(raw, raw_bytes)),
  );
}

function record(raw, size) {
  if (raw.length <= EXCERPT) return h('code', { class: 'raw' }, raw);
  return h(
    'details',
    {},
    h(
      'summary',
      {},
      h('code', { class: 'raw' }, `${raw.slice(0, EXCERPT)}…`),
      h('span', { class: 'muted small' }, ` ${bytes(size)}`),
    ),
    h('pre', { class: 'raw', tabindex: '0' }, raw),
  );
}
