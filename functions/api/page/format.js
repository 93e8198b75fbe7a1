// Numbers, sizes, times and values as text.

const NUMBER = new Intl.NumberFormat();
const SHORT = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const DATE_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export const number = (value) => NUMBER.format(value);

export function bytes(value) {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${SHORT.format(value)} ${units[unit]}`;
}

/** Formats a time; one of today without its date. */
export function time(text) {
  const at = new Date(text);
  return (at.toDateString() === new Date().toDateString() ? TIME : DATE_TIME).format(at);
}

export const fullTime = (text) => DATE_TIME.format(new Date(text));

/** Formats the time between two times. */
export function duration(from, to) {
  const seconds = Math.max(0, (new Date(to) - new Date(from)) / 1000);
  if (seconds < 60) return `${SHORT.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Formats a value of a row; null stays null. */
export function value(content) {
  if (content === null || content === undefined) return null;
  return typeof content === 'object' ? JSON.stringify(content) : String(content);
}

const STORES = { mongodb: 'MongoDB', postgres: 'PostgreSQL', mysql: 'MySQL', mariadb: 'MariaDB', sqlite: 'SQLite' };

/** Returns the name of a kind of database. */
export const store = (kind) => STORES[kind] ?? kind;

// The key that the API assigns to rows in the body of a request.
const POSTED = /\/api\/[0-9a-f-]{36}\.(\w+)$/;

/** Returns the display name of an object: the last part of its key. */
export function fileName(key) {
  const [, format] = POSTED.exec(key) ?? [];
  return format ? `Posted rows (${format.toUpperCase()})` : key.slice(key.lastIndexOf('/') + 1) || key;
}
