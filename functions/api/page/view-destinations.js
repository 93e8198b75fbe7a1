import { get } from './api.js';
import { announce, fill, h } from './dom.js';
import { badge, column, empty, loading, problemPanel, table } from './parts.js';
import { at, refresh } from './view-sources.js';

const PAGE = 100;

/** The badge of whether calls are sent. */
export function state({ paused, circuit, problem }) {
  if (paused !== null) return badge('cancelled', 'Paused');
  if (circuit !== 'closed') return badge('failed', 'Service fails');
  return problem === null ? badge('succeeded', 'Sends') : badge('failed', 'Does not send');
}

/** The list of destinations, by name. */
export function destinationsView() {
  const content = h('div', {}, loading('destinations'));
  const outcomePart = h('div');
  const body = h('tbody');
  const more = h('button', { type: 'button', hidden: true, onclick: older }, 'Show more destinations');
  const node = h('section', {}, h('h1', {}, 'Destinations'), content, outcomePart, more);
  let pages = 1;

  /** Reads as many pages as are shown. */
  async function read(isStopped) {
    const all = { destinations: [], broken: [], next: null };
    try {
      for (let page = 0; page === 0 || (page < pages && all.next); page += 1) {
        const query = { limit: PAGE, cursor: all.next };
        const { destinations, broken, next } = await get('destinations', { query, fresh: true });
        all.destinations.push(...destinations);
        all.broken.push(...broken);
        all.next = next;
      }
    } catch (error) {
      if (!isStopped()) fill(outcomePart, problemPanel(error));
      return;
    }
    if (isStopped()) return;
    fill(outcomePart, all.broken.map(brokenDestination));
    more.hidden = all.next === null;
    draw(all.destinations);
  }

  function draw(destinations) {
    if (destinations.length === 0) {
      fill(content, noDestinations());
      return;
    }
    const focused = document.activeElement?.getAttribute('href');
    fill(body, destinations.map(row));
    if (!body.isConnected) {
      const head = [column('Destination'), column('Dataset'), column('State'), column('Problem')];
      fill(content, table('Destinations', head, body, 'jobs'));
    }
    // The focused link has been replaced.
    if (focused) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  async function older() {
    pages += 1;
    await read(() => false);
    announce('More destinations are shown');
  }

  return { title: 'Destinations', node, stop: refresh(read) };
}

function row(destination) {
  const { name, dataset, paused, problem } = destination;
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, h('a', { href: `#/destinations/${encodeURIComponent(name)}` }, name)),
    h('td', {}, dataset),
    h('td', {}, state(destination), paused && [' since ', at(paused.at)]),
    h('td', {}, problem ?? '–'),
  );
}

const noDestinations = () =>
  empty(
    'There are no destinations yet. A destination is a TOML file in the configuration bucket, ',
    h('code', {}, 'destinations/<name>.toml'),
    '.',
  );

const brokenDestination = ({ name, message }) =>
  h(
    'div',
    { class: 'panel warning' },
    h('p', {}, h('strong', {}, `${name} does not send: its definition is invalid`)),
    h('p', {}, message),
  );
