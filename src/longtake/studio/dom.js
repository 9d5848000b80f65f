/** Elements without markup: every text stays text. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. Names that begin with "on" are listeners, "." is a property, true and false are bare attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) Object.assign(made, { [name.slice(1)]: value });
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  for (const child of children) {
    if (child instanceof Node) made.append(child);
    else if (typeof child === "string" || typeof child === "number") made.append(String(child));
  }
  return made;
}

/**
 * The same for pictures.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Strokes of the icons, on a field of 24 by 24. */
const STROKES = {
  grip: "M9 5h.01M15 5h.01M9 12h.01M15 12h.01M9 19h.01M15 19h.01",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  lock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3",
  open: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 7.5-2",
  again: "M4 12a8 8 0 1 0 3-6.2M4 4v5h5",
  plus: "M12 5v14M5 12h14",
  undo: "M9 7H15a5 5 0 0 1 0 10H8M9 7l4-4M9 7l4 4",
  redo: "M15 7H9a5 5 0 0 0 0 10h7M15 7l-4-4M15 7l-4 4",
  close: "M6 6l12 12M18 6 6 18",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01",
  play: "M8 5l11 7-11 7z",
  tick: "M5 13l4 4L19 7",
  dash: "M6 12h12",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 9h4M4 14h4M16 9h4M16 14h4",
};

/**
 * @param {keyof typeof STROKES} name
 * @returns {SVGElement}
 */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" },
    svg("path", { d: STROKES[name] }),
  );
}

/**
 * A button with an icon and a name that is read aloud and shown as a hint.
 * @param {keyof typeof STROKES} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} act
 * @param {Record<string, any>} [more]
 */
export function iconButton(name, label, act, more = {}) {
  return el(
    "button",
    { type: "button", class: "icon-button", title: label, "aria-label": label, onclick: act, ...more },
    icon(name),
  );
}

/**
 * A field with its label.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {Record<string, any>} [more]
 */
export function field(label, control, more = {}) {
  return el("label", { class: "field", ...more }, el("span", {}, label), control);
}

/**
 * @param {[string, string][]} options value and words
 * @param {string} value
 * @param {Record<string, any>} [more]
 */
export function select(options, value, more = {}) {
  const known = options.some(([one]) => one === value)
    ? options
    : [...options, /** @type {[string, string]} */ ([value, value])];
  return el(
    "select",
    more,
    ...known.map(([one, words]) => el("option", { value: one, selected: one === value }, words)),
  );
}

/**
 * Build a part of the page anew, and give the focus back to the control that had it (known by its data-key).
 * @param {HTMLElement} place
 * @param {Child[]} children
 */
export function replace(place, ...children) {
  const key = place.contains(document.activeElement)
    ? /** @type {HTMLElement} */ (document.activeElement).dataset.key
    : undefined;
  place.replaceChildren(.../** @type {Node[]} */ (children.filter(Boolean)));
  if (key)
    /** @type {HTMLElement | null} */ (place.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus();
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id}`);
  return found;
}
