// Who is signed in. The token lives as long as the tab, and is in no URL.

const KEY = 'landfall.token';
const FRAGMENT = '#token=';

let token = null;
let info = null;

/** Takes the token that a link of the local stack carries, and takes it out of address and history at once. */
export function restore() {
  if (location.hash.startsWith(FRAGMENT)) {
    sessionStorage.setItem(KEY, decodeURIComponent(location.hash.slice(FRAGMENT.length)));
    history.replaceState(null, '', location.pathname + location.search);
  }
  token = sessionStorage.getItem(KEY);
  return token !== null;
}

export function setToken(text) {
  token = text;
  sessionStorage.setItem(KEY, text);
}

export function setInfo(answer) {
  info = answer;
}

export function end() {
  token = null;
  info = null;
  sessionStorage.removeItem(KEY);
}

export const currentToken = () => token;

/** What `GET /session` answered: name, scopes, datasets, socket_url, limits. */
export const current = () => info;

export const may = (scope) => info !== null && (info.scopes.includes(scope) || info.scopes.includes('admin'));
