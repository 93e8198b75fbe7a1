// Elements, made without any HTML text: what comes from outside can only ever become text.

/** An element. `on…` attributes are listeners; those that are null, undefined or false are left out. */
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

/** Puts these children in place of the present ones. */
export function fill(node, ...children) {
  const all = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  node.replaceChildren(...all.map((child) => (child instanceof Node ? child : String(child))));
}

/** Changes a text only where it differs, so that a selection stays. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Says it to those who do not see the page. Only for what they have to know now. */
export function announce(text) {
  document.getElementById('status').textContent = text;
}

let ids = 0;
/** An id that no other element has. */
export function newId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** A labelled control. */
export function labelled(label, control, attributes = {}) {
  control.id ||= newId('control');
  return h('div', { class: 'control', ...attributes }, h('label', { for: control.id }, label), control);
}

/** A `<select>` with `[value, label]` options. */
export function select(options, chosen, attributes = {}) {
  const node = h(
    'select',
    attributes,
    options.map(([value, label]) => h('option', { value }, label)),
  );
  if (options.some(([value]) => value === chosen)) node.value = chosen;
  return node;
}
