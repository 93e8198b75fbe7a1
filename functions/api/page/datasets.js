// The datasets that the token covers, loaded at most once a minute.

import { get } from './api.js';
import { current } from './session.js';

const KEEP = 60_000;
let cached = { until: 0, session: null, result: null };

/** Datasets, sorted by name. */
export const datasets = async () => (await all()).datasets;

/** Invalid definitions, each with its error. */
export const brokenDatasets = async () => (await all()).broken;

function all() {
  if (Date.now() < cached.until && cached.session === current()) return cached.result;
  const result = get('datasets').then(({ datasets, broken }) => ({
    datasets: datasets.sort((a, b) => a.name.localeCompare(b.name)),
    broken,
  }));
  cached = { until: Date.now() + KEEP, session: current(), result };
  result.catch(() => {
    cached.until = 0;
  });
  return result;
}

export async function dataset(name) {
  return (await datasets()).find((candidate) => candidate.name === name) ?? get(`datasets/${encodeURIComponent(name)}`);
}

/** Loads the datasets again the next time, because there is a new one. */
export function forget() {
  cached.until = 0;
}

let last = null;

/** Remembers a dataset, for the next view. */
export function choose(name) {
  last = name;
}

/** Returns the dataset chosen last if it is one of these, else the first. */
export const chosen = (all) => all.find(({ name }) => name === last) ?? all[0];

/** Returns the value of the API's parameter `store` for a kind of database. */
export const storeParameter = (kind) => (kind === 'mongodb' ? 'mongodb' : 'sql');
