/** The film strip: every shot as wide as it is long. A click leads to its card, the edge changes its length. */
import { change, total } from "./board.js";
import { byId, el } from "./dom.js";
import { clock, t } from "./i18n.js";
import { footage } from "./sketch.js";

/** @typedef {import("./api.js").Board} Board */

/** Pixels of the strip's height. */
const TALL = 72;
/** Seconds to which a length snaps. */
const SNAP = 0.25;
const SHORTEST = 0.25,
  LONGEST = 60;

/** @param {Board} board */
export function strip(board) {
  return board.shots.map((shot, index) => {
    const seconds = Number(shot.duration) || 0;
    const segment = el(
      "button",
      {
        type: "button",
        title: shot.action,
        "data-key": `strip-${shot.id}`,
        class: shot.transition.type === "cut" ? "" : "soft-edge",
        onclick: () => {
          const target = byId(`shot-${shot.id}`);
          target.scrollIntoView({ block: "center" });
          target.querySelector("textarea")?.focus({ preventScroll: true });
        },
      },
      footage(board, shot, TALL),
      el("span", { class: "visually-hidden" }, t("shot", { n: "" })),
      el("b", {}, String(index + 1)),
      " ",
      el("small", {}, clock(seconds)),
      el("span", { class: "visually-hidden" }, ` ${shot.action}`),
    );
    const item = el("li", {}, segment, edge(index, seconds));
    item.style.flexGrow = String(Math.max(SHORTEST, seconds));
    return item;
  });
}

/**
 * The end of a shot, to be pulled by mouse, finger or arrow keys.
 * @param {number} index
 * @param {number} seconds
 */
function edge(index, seconds) {
  const label = t("timelineEdge", { n: index + 1 });
  return el("span", {
    class: "edge",
    role: "slider",
    tabindex: 0,
    title: label,
    "aria-label": label,
    "data-key": `edge-${index}`,
    "aria-valuemin": SHORTEST,
    "aria-valuemax": LONGEST,
    "aria-valuenow": seconds,
    "aria-valuetext": clock(seconds),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const step = {
        ArrowLeft: -SNAP,
        ArrowDown: -SNAP,
        ArrowRight: SNAP,
        ArrowUp: SNAP,
        PageDown: -1,
        PageUp: 1,
      }[event.key];
      if (!step) return;
      event.preventDefault();
      stretch(index, seconds + step);
    },
    onpointerdown: (/** @type {PointerEvent} */ event) => pull(event, index, seconds),
  });
}

/**
 * @param {PointerEvent} event
 * @param {number} index
 * @param {number} seconds
 */
function pull(event, index, seconds) {
  event.preventDefault();
  const wide = /** @type {HTMLElement} */ (event.target).closest("li")?.clientWidth ?? 1;
  const perPixel = Math.max(seconds, SHORTEST) / wide;
  const follow = (/** @type {PointerEvent} */ at) =>
    stretch(index, seconds + (at.clientX - event.clientX) * perPixel);
  const end = () => {
    document.removeEventListener("pointermove", follow);
    document.removeEventListener("pointerup", end);
    document.removeEventListener("pointercancel", end);
  };
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerup", end);
  document.addEventListener("pointercancel", end);
}

/**
 * @param {number} index
 * @param {number} seconds
 */
function stretch(index, seconds) {
  const snapped = Math.min(LONGEST, Math.max(SHORTEST, Math.round(seconds / SNAP) * SNAP));
  change((board) => {
    board.shots[index].duration = snapped;
  }, true);
}

/** How many shots, how long, how large. @param {Board} board */
export function summary(board) {
  const count = board.shots.length;
  const shots = count === 1 ? t("boardShot") : t("boardShots", { n: count });
  return `${t("boardIs", { shots, length: clock(total(board)) })} · ${board.size.replace("x", " × ")}`;
}
