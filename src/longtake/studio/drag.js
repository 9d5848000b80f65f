/** Putting the items of a list into another order: by mouse or finger on a handle, or by its arrow keys. */

/**
 * @param {HTMLElement} list
 * @param {{items: string, handle: string, moved: (from: number, to: number) => void}} how
 *   `items` and `handle` are selectors; `moved` is told the old and the new place
 */
export function sortable(list, { items, handle, moved }) {
  const all = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll(items)]);

  list.addEventListener("keydown", (event) => {
    const grip = /** @type {HTMLElement} */ (event.target).closest(handle);
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!grip || !step) return;
    const from = all().indexOf(/** @type {HTMLElement} */ (grip.closest(items)));
    if (from + step < 0 || from + step >= all().length) return;
    event.preventDefault();
    moved(from, from + step);
  });

  list.addEventListener("pointerdown", (event) => {
    const grip = /** @type {HTMLElement} */ (event.target).closest(handle);
    const item = /** @type {HTMLElement | null} */ (grip?.closest(items) ?? null);
    if (!grip || !item || event.button !== 0) return;
    event.preventDefault();
    /** @type {HTMLElement} */ (grip).focus();
    const from = all().indexOf(item);
    let to = from;
    item.classList.add("dragged");
    const follow = (/** @type {PointerEvent} */ at) => {
      const target = document
        .elementsFromPoint(at.clientX, at.clientY)
        .map((one) => one.closest(items))
        .find((one) => one && list.contains(one));
      if (!target) return;
      to = all().indexOf(/** @type {HTMLElement} */ (target));
      for (const one of all()) one.classList.toggle("target", one === target && to !== from);
    };
    const end = (/** @type {PointerEvent} */ at) => {
      document.removeEventListener("pointermove", follow);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
      for (const one of all()) one.classList.remove("dragged", "target");
      if (at.type === "pointerup" && to !== from) moved(from, to);
    };
    document.addEventListener("pointermove", follow);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
  });
}

/**
 * A list with one item in another place.
 * @template T
 * @param {T[]} list
 * @param {number} from
 * @param {number} to
 * @returns {T[]}
 */
export function moved(list, from, to) {
  const rest = [...list];
  rest.splice(to, 0, ...rest.splice(from, 1));
  return rest;
}

/**
 * A place onto which a file can be dropped, and that opens the chooser when it is clicked.
 * @param {HTMLElement} place
 * @param {HTMLInputElement} input
 * @param {(file: File) => void} take
 */
export function droppable(place, input, take) {
  input.addEventListener("change", () => {
    if (input.files?.[0]) take(input.files[0]);
    input.value = "";
  });
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer?.files[0]) take(event.dataTransfer.files[0]);
  });
}
