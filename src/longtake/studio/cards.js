/** A shot of the board as a card: its drawing, its words, its camera, and what can be done with it. */
import { change, draft, freeId, loosen } from "./board.js";
import { el, field, iconButton, replace, select } from "./dom.js";
import { moved } from "./drag.js";
import { named, t } from "./i18n.js";
import { say } from "./notice.js";
import { sketch } from "./sketch.js";

/** @typedef {import("./api.js").Board} Board */
/** @typedef {import("./api.js").Shot} Shot */

export const SCALES = [
  "extreme_wide",
  "wide",
  "full",
  "medium_wide",
  "medium",
  "medium_close_up",
  "close_up",
  "extreme_close_up",
  "insert",
];
export const MOVES = [
  "static",
  "pan_left",
  "pan_right",
  "tilt_up",
  "tilt_down",
  "roll_left",
  "roll_right",
  "dolly_in",
  "dolly_out",
  "truck_left",
  "truck_right",
  "pedestal_up",
  "pedestal_down",
  "crane_up",
  "crane_down",
  "orbit_left",
  "orbit_right",
  "follow",
  "zoom_in",
  "zoom_out",
];
export const ANGLES = ["eye_level", "low", "high", "overhead", "dutch"];
export const TRANSITIONS = ["cut", "dissolve", "fade", "wipe", "match_cut"];
const SPEEDS = ["slow", "medium", "fast"],
  SUPPORTS = ["tripod", "handheld", "gimbal", "drone"];
const POSITIONS = ["", "left", "centre", "right", "foreground", "background"],
  FACINGS = ["", "left", "right", "camera", "away"];
/** Shots whose further fields are shown. @type {Set<string>} */
const opened = new Set();

/**
 * A control that writes into the board as it is used.
 * @param {number} index of the shot
 * @param {string} path of the field in the shot
 * @param {"input" | "textarea"} tag
 * @param {Record<string, any>} more
 */
function bound(index, path, tag, more) {
  const shot = /** @type {Board} */ (draft.board).shots[index];
  const control = el(tag, {
    "data-key": `${shot.id}.${path}`,
    ".value": at(shot, path) ?? "",
    ...more,
    oninput: () => {
      const isNumber = more.type === "number";
      const value = isNumber ? (control.value === "" ? null : Number(control.value)) : control.value;
      change((board) => put(board.shots[index], path, value), true);
    },
  });
  return control;
}

/**
 * @param {number} index
 * @param {string} path
 * @param {[string, string][]} options
 * @param {(shot: Shot, value: string) => void} [also]
 */
function chosen(index, path, options, also) {
  const shot = /** @type {Board} */ (draft.board).shots[index];
  return select(options, String(at(shot, path) ?? ""), {
    "data-key": `${shot.id}.${path}`,
    onchange: (/** @type {Event} */ event) => {
      const value = /** @type {HTMLSelectElement} */ (event.target).value;
      change((board) => {
        put(board.shots[index], path, value === "" && path !== "position" ? null : value);
        also?.(board.shots[index], value);
      });
    },
  });
}

/** @returns {any} */
const at = (/** @type {any} */ noun, /** @type {string} */ path) =>
  path.split(".").reduce((inner, name) => inner?.[name], noun);

function put(/** @type {any} */ noun, /** @type {string} */ path, /** @type {any} */ value) {
  const names = path.split(".");
  const last = /** @type {string} */ (names.pop());
  names.reduce((inner, name) => inner[name], noun)[last] = value;
}

const options = (/** @type {string} */ kind, /** @type {string[]} */ values) =>
  values.map((value) => /** @type {[string, string]} */ ([value, named(kind, value)]));

/**
 * A field that knows where the server's complaints about it belong.
 * @param {number} index
 * @param {string} path
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [kind]
 */
const shotField = (index, path, label, control, kind = "") =>
  field(label, control, { class: `field ${kind}`, "data-path": `shots[${index}].${path}` });

/**
 * @param {Board} board
 * @param {number} index
 * @param {(shot: Shot) => void} again makes the shot again
 */
export function card(board, index, again) {
  const shot = board.shots[index];
  const number = index + 1;
  const picture = el("div", { class: "frame", "data-sketch": shot.id }, sketch(board, shot));
  const more = el(
    "details",
    {
      class: "more",
      open: opened.has(shot.id),
      ontoggle: () => (more.open ? opened.add(shot.id) : opened.delete(shot.id)),
    },
    el("summary", { "data-key": `${shot.id}.more` }, t("details")),
    details(board, index),
  );
  return el(
    "li",
    {
      class: shot.locked ? "card locked" : "card",
      id: `shot-${shot.id}`,
      "data-shot": shot.id,
      "aria-label": t("shot", { n: number }),
    },
    el(
      "div",
      { class: "slate" },
      el(
        "button",
        {
          type: "button",
          class: "icon-button handle",
          "aria-label": t("shotMove", { n: number }),
          title: t("shotMove", { n: number }),
          "data-key": `${shot.id}.handle`,
        },
        el("b", {}, String(number)),
      ),
      el("span", { class: "spacer" }),
      ...tools(board, index, again),
    ),
    picture,
    gist(board, shot),
    shotField(
      index,
      "action",
      t("action"),
      bound(index, "action", "textarea", { rows: 3, maxlength: 2000 }),
      "wide",
    ),
    el(
      "div",
      { class: "settings tight" },
      shotField(
        index,
        "duration",
        t("duration"),
        bound(index, "duration", "input", { type: "number", min: 0.25, max: 60, step: 0.25 }),
        "short",
      ),
      shotField(index, "scale", t("scale"), chosen(index, "scale", options("scale", SCALES))),
      shotField(index, "camera.move", t("move"), chosen(index, "camera.move", options("move", MOVES))),
    ),
    more,
  );
}

/**
 * What a glance should tell of the fields below "more": the place, how the shot is entered, what is said.
 * @param {Board} board
 * @param {Shot} shot
 */
function gist(board, shot) {
  const place = board.locations.find((one) => one.id === shot.location);
  const entered = shot.continue_from
    ? t("continuesShot", { n: board.shots.findIndex((one) => one.id === shot.continue_from) + 1 })
    : shot.transition.type === "cut"
      ? ""
      : named("transition", shot.transition.type);
  const where = place && [place.description, place.time, place.weather].filter(Boolean).join(", ");
  const said = [shot.narration, ...shot.dialogue.map((line) => `“${line.text}”`)].filter(Boolean).join(" ");
  return el(
    "p",
    { class: "gist", "data-gist": shot.id },
    ...[where, entered, said].filter(Boolean).map((words) => el("span", { title: words }, words)),
  );
}

/**
 * @param {Board} board
 * @param {number} index
 * @param {(shot: Shot) => void} again
 */
function tools(board, index, again) {
  const shot = board.shots[index];
  return [
    iconButton("again", t("shotAgainHint"), () => again(shot), {
      "data-key": `${shot.id}.again`,
      disabled: shot.locked,
      class: "icon-button again",
    }),
    iconButton(
      shot.locked ? "lock" : "open",
      t(shot.locked ? "shotUnlock" : "shotLock"),
      () =>
        change((b) => {
          b.shots[index].locked = !shot.locked;
        }),
      { "data-key": `${shot.id}.lock`, "aria-pressed": String(shot.locked) },
    ),
    iconButton(
      "copy",
      t("shotCopy"),
      () =>
        change((b) => {
          b.shots.splice(index + 1, 0, {
            ...structuredClone(b.shots[index]),
            id: freeId("s", b.shots),
            locked: false,
            seed: null,
          });
        }),
      { "data-key": `${shot.id}.copy` },
    ),
    iconButton(
      "bin",
      t("shotDelete"),
      () =>
        reorder((b) => {
          b.shots.splice(index, 1);
        }),
      { "data-key": `${shot.id}.delete`, disabled: board.shots.length === 1 },
    ),
  ];
}

/**
 * Change the order of shots; those that carried on from another may have to begin anew.
 * @param {(board: Board) => void} edit
 */
export function reorder(edit) {
  /** @type {{shot: string, other: string}[]} */
  let freed = [];
  change((board) => {
    edit(board);
    freed = loosen(board);
  });
  for (const one of freed) say(t("shotFree", one));
}

/** @param {number} from @param {number} to */
export function moveShot(from, to) {
  reorder((board) => {
    board.shots = moved(board.shots, from, to);
  });
  say(t("shotMoved", { n: to + 1 }));
}

/**
 * @param {Board} board
 * @param {number} index
 */
function details(board, index) {
  const shot = board.shots[index];
  const places = /** @type {[string, string][]} */ ([
    ["", t("none")],
    ...board.locations.map((one) => [one.id, placeOf(one)]),
  ]);
  const earlier = /** @type {[string, string][]} */ ([
    ["", t("none")],
    ...board.shots.slice(0, index).map((one, n) => [one.id, t("shot", { n: n + 1 })]),
  ]);
  const lasting = !["cut", "match_cut"].includes(shot.transition.type);
  return el(
    "div",
    { class: "settings tight" },
    shotField(index, "location", t("location"), chosen(index, "location", places)),
    shotField(index, "angle", t("angle"), chosen(index, "angle", options("angle", ANGLES))),
    shotField(index, "camera.speed", t("speed"), chosen(index, "camera.speed", options("speed", SPEEDS))),
    shotField(
      index,
      "camera.support",
      t("support"),
      chosen(index, "camera.support", options("support", SUPPORTS)),
    ),
    shotField(
      index,
      "transition.type",
      t("transition"),
      chosen(index, "transition.type", options("transition", TRANSITIONS), (one, type) => {
        one.transition.duration = ["cut", "match_cut"].includes(type) ? 0 : one.transition.duration || 0.5;
      }),
    ),
    lasting &&
      shotField(
        index,
        "transition.duration",
        t("transitionLasts"),
        bound(index, "transition.duration", "input", { type: "number", min: 0.1, max: 2, step: 0.1 }),
        "short",
      ),
    index > 0 && shotField(index, "continue_from", t("continues"), chosen(index, "continue_from", earlier)),
    shotField(
      index,
      "seed",
      t("shotSeed"),
      bound(index, "seed", "input", {
        type: "number",
        min: 0,
        max: 4294967295,
        step: 1,
        placeholder: t("seedAny"),
      }),
    ),
    company(board, index),
    shotField(
      index,
      "narration",
      t("narration"),
      bound(index, "narration", "textarea", { rows: 2, maxlength: 2000 }),
      "wide",
    ),
    lines(board, index),
    shotField(
      index,
      "sound",
      t("soundOf"),
      bound(index, "sound", "input", { type: "text", maxlength: 2000 }),
      "wide",
    ),
  );
}

/**
 * Who is in the picture, where, and facing what.
 * @param {Board} board
 * @param {number} index
 */
function company(board, index) {
  if (!board.characters.length) return null;
  const shot = board.shots[index];
  return el(
    "fieldset",
    { class: "field wide", "data-path": `shots[${index}].characters` },
    el("legend", {}, t("people")),
    ...board.characters.map((person) => {
      const place = shot.characters.findIndex((cast) => cast.id === person.id);
      const isIn = place >= 0;
      return el(
        "div",
        { class: "cast-row" },
        el(
          "label",
          { class: "switch" },
          el("input", {
            type: "checkbox",
            checked: isIn,
            "data-key": `${shot.id}.in.${person.id}`,
            onchange: () =>
              change((b) => {
                const cast = b.shots[index].characters;
                b.shots[index].characters = isIn
                  ? cast.filter((one) => one.id !== person.id)
                  : [...cast, { id: person.id, position: "", facing: "" }];
              }),
          }),
          el("span", { "data-name": person.id }, nameOf(person)),
        ),
        isIn && where(index, place, "position", POSITIONS),
        isIn && where(index, place, "facing", FACINGS),
      );
    }),
  );
}

/**
 * @param {number} index
 * @param {number} place in the cast
 * @param {"position" | "facing"} what
 * @param {string[]} values
 */
function where(index, place, what, values) {
  const shot = /** @type {Board} */ (draft.board).shots[index];
  return select(options(what, values), shot.characters[place][what], {
    "aria-label": t(what),
    "data-key": `${shot.id}.${what}.${place}`,
    "data-path": `shots[${index}].characters[${place}].${what}`,
    onchange: (/** @type {Event} */ event) =>
      change((b) => {
        b.shots[index].characters[place][what] = /** @type {HTMLSelectElement} */ (event.target).value;
      }),
  });
}

/**
 * @param {Board} board
 * @param {number} index
 */
function lines(board, index) {
  if (!board.characters.length) return null;
  const shot = board.shots[index];
  const who = /** @type {[string, string][]} */ (board.characters.map((one) => [one.id, nameOf(one)]));
  return el(
    "fieldset",
    { class: "field wide", "data-path": `shots[${index}].dialogue` },
    el("legend", {}, t("dialogue")),
    ...shot.dialogue.map((line, n) =>
      el(
        "div",
        { class: "line-row" },
        select(who, line.character, {
          "aria-label": t("who"),
          "data-key": `${shot.id}.who.${n}`,
          onchange: (/** @type {Event} */ event) =>
            change((b) => {
              b.shots[index].dialogue[n].character = /** @type {HTMLSelectElement} */ (event.target).value;
            }),
        }),
        bound(index, `dialogue.${n}.text`, "input", {
          type: "text",
          maxlength: 2000,
          "aria-label": t("says"),
        }),
        iconButton("close", t("lineRemove"), () =>
          change((b) => {
            b.shots[index].dialogue.splice(n, 1);
          }),
        ),
      ),
    ),
    el(
      "button",
      {
        type: "button",
        class: "quiet small",
        "data-key": `${shot.id}.line`,
        onclick: () =>
          change((b) => {
            b.shots[index].dialogue.push({ character: board.characters[0].id, text: "" });
          }),
      },
      t("dialogueAdd"),
    ),
  );
}

/** @param {import("./api.js").Character} person */
const nameOf = (person) => person.name || person.look || person.id;
/** @param {import("./api.js").Place} place */
const placeOf = (place) => place.description || place.id;

/**
 * Show what changed where only values did: drawings, names, and lengths that were pulled on the strip. No control is made
 * anew, so that a click that ends the typing still meets its button.
 * @param {Board} board
 */
export function redraw(board) {
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-sketch]"))) {
    const shot = board.shots.find((one) => one.id === place.dataset.sketch);
    if (shot) replace(place, sketch(board, shot));
  }
  for (const shot of board.shots) {
    const input = /** @type {HTMLInputElement | null} */ (
      document.querySelector(`[data-key="${shot.id}.duration"]`)
    );
    if (input && input !== document.activeElement) input.value = String(shot.duration);
  }
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-gist]"))) {
    const shot = board.shots.find((one) => one.id === place.dataset.gist);
    if (shot) place.replaceWith(gist(board, shot));
  }
  const rename = (/** @type {string} */ where, /** @type {string} */ words) => {
    for (const one of document.querySelectorAll(where)) one.textContent = words;
  };
  for (const one of board.characters) {
    rename(`[data-name="${one.id}"], [data-key*=".who."] option[value="${one.id}"]`, nameOf(one));
  }
  for (const one of board.locations)
    rename(`[data-key$=".location"] option[value="${one.id}"]`, placeOf(one));
}
