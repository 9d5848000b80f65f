/** Who is in the film, where it takes place, and how all of it looks. */
import { change, freeId } from "./board.js";
import { el, field, icon, iconButton } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./api.js").Board} Board */

/** @param {Board} board */
export function company(board) {
  return el(
    "details",
    { class: "company", open: true },
    el("summary", {}, t("boardCast")),
    el(
      "div",
      { class: "company-lists" },
      people(board),
      places(board),
      field(
        t("boardLook"),
        typed("style.look", board.style.look, (b, value) => {
          b.style.look = value;
        }),
        { class: "field", "data-path": "style.look" },
      ),
    ),
  );
}

/**
 * @param {string} key
 * @param {string} value
 * @param {(board: Board, value: string) => void} write
 * @param {Record<string, any>} [more]
 */
function typed(key, value, write, more = {}) {
  const input = el("input", {
    type: "text",
    maxlength: 2000,
    ".value": value,
    "data-key": key,
    "data-path": key,
    ...more,
    oninput: () => change((board) => write(board, input.value), true),
  });
  return input;
}

/** @param {Board} board */
function people(board) {
  return el(
    "fieldset",
    { class: "nouns" },
    el("legend", {}, t("people_")),
    ...board.characters.map((person, n) =>
      el(
        "div",
        { class: "noun" },
        .../** @type {const} */ (["name", "look", "wardrobe", "voice"]).map((what) =>
          field(
            t(what),
            typed(`characters[${n}].${what}`, person[what], (b, value) => {
              b.characters[n][what] = value;
            }),
          ),
        ),
        iconButton("bin", t("remove", { name: person.name || person.id }), () =>
          change((b) => {
            b.characters.splice(n, 1);
            for (const shot of b.shots) {
              shot.characters = shot.characters.filter((cast) => cast.id !== person.id);
              shot.dialogue = shot.dialogue.filter((line) => line.character !== person.id);
            }
          }),
        ),
      ),
    ),
    el(
      "button",
      {
        type: "button",
        class: "quiet small",
        "data-key": "add-person",
        onclick: () =>
          change((b) => {
            b.characters.push({
              id: freeId("c", b.characters),
              name: "",
              look: "",
              wardrobe: "",
              voice: "",
              references: [],
            });
          }),
      },
      icon("plus"),
      t("personAdd"),
    ),
  );
}

/** @param {Board} board */
function places(board) {
  return el(
    "fieldset",
    { class: "nouns" },
    el("legend", {}, t("places_")),
    ...board.locations.map((place, n) =>
      el(
        "div",
        { class: "noun" },
        .../** @type {["description" | "time" | "weather", string][]} */ ([
          ["description", "place"],
          ["time", "time"],
          ["weather", "weather"],
        ]).map(([what, label]) =>
          field(
            t(label),
            typed(`locations[${n}].${what}`, place[what], (b, value) => {
              b.locations[n][what] = value;
            }),
          ),
        ),
        iconButton("bin", t("remove", { name: place.description || place.id }), () =>
          change((b) => {
            b.locations.splice(n, 1);
            for (const shot of b.shots) if (shot.location === place.id) shot.location = null;
          }),
        ),
      ),
    ),
    el(
      "button",
      {
        type: "button",
        class: "quiet small",
        "data-key": "add-place",
        onclick: () =>
          change((b) => {
            b.locations.push({ id: freeId("l", b.locations), description: "", time: "", weather: "" });
          }),
      },
      icon("plus"),
      t("placeAdd"),
    ),
  );
}
