// Elements, created without HTML strings, so that outside values can only become text.

/** Creates an element. `on…` attributes are listeners; null, undefined and false are omitted. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value') node.value = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  fill(node, ...children);
  return node;
}

/** Replaces the children of a node. */
export function fill(node, ...children) {
  const all = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  node.replaceChildren(...all.map((child) => (child instanceof Node ? child : String(child))));
}

/** Changes a text only if it differs, which keeps a selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Announces a text to screen readers. */
export function announce(text) {
  document.getElementById('status').textContent = text;
}

let ids = 0;
/** Returns a unique element id. */
export function newId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** Creates a labelled control. */
export function labelled(label, control, attributes = {}) {
  control.id ||= newId('control');
  return h('div', { class: 'control', ...attributes }, h('label', { for: control.id }, label), control);
}

/** Creates a `<select>` with `[value, label]` options. */
export function select(options, chosen, attributes = {}) {
  const node = h(
    'select',
    attributes,
    options.map(([value, label]) => h('option', { value }, label)),
  );
  if (options.some(([value]) => value === chosen)) node.value = chosen;
  return node;
}
