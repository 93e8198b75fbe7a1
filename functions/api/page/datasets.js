// The datasets that the token may see. They seldom change: asked for once a minute at most.

import { get } from './api.js';
import { current } from './session.js';

const KEEP = 60_000;
let known = { until: 0, of: null, answer: null };

/** By name. */
export const datasets = async () => (await all()).datasets;

/** Definitions with an error, each with what is wrong with it. */
export const brokenDatasets = async () => (await all()).broken;

function all() {
  if (Date.now() < known.until && known.of === current()) return known.answer;
  const answer = get('datasets').then(({ datasets, broken }) => ({
    datasets: datasets.sort((a, b) => a.name.localeCompare(b.name)),
    broken,
  }));
  known = { until: Date.now() + KEEP, of: current(), answer };
  answer.catch(() => {
    known.until = 0;
  });
  return answer;
}

export async function dataset(name) {
  return (await datasets()).find((one) => one.name === name) ?? get(`datasets/${encodeURIComponent(name)}`);
}

let last = null;

/** Notes the dataset that one works with: the next view begins with it. */
export function choose(name) {
  last = name;
}

/** The dataset that was chosen last, as far as it is among these; else the first. */
export const chosen = (all) => all.find(({ name }) => name === last) ?? all[0];

/** Which of the API's two kinds of store a database is. */
export const storeParameter = (kind) => (kind === 'mongodb' ? 'mongodb' : 'sql');
