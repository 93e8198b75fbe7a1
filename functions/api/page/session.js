// The session. The token is kept until the tab is closed, and is in no URL.

const KEY = 'landfall.token';
const FRAGMENT = '#token=';
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

let token = null;
let info = null;

/**
 * Restores the token from this tab, or from a sign-in link, whose token is removed from URL and history at once. Links
 * work only on the local stack: elsewhere, a link of somebody else could sign a user in with a foreign token.
 */
export function restore() {
  if (location.hash.startsWith(FRAGMENT)) {
    if (LOOPBACK.includes(location.hostname))
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

export function setInfo(response) {
  info = response;
}

export function end() {
  token = null;
  info = null;
  sessionStorage.removeItem(KEY);
}

export const currentToken = () => token;

/** The response of `GET /session`: name, scopes, datasets, socket_url, limits. */
export const current = () => info;

export const may = (scope) => info !== null && (info.scopes.includes(scope) || info.scopes.includes('admin'));
