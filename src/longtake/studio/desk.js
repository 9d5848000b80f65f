/** The storyboard on the page: its head, its timeline, its cards, its people and places. */
import { call } from "./api.js";
import { called, canRedo, canUndo, change, check, draft, emptyBoard, freeId, lay, madeInto, newShot, readBoard, total, undo } from "./board.js";
import { card, moveShot, redraw } from "./cards.js";
import { recipe, send, size } from "./compose.js";
import { byId, el, field, icon, iconButton, replace } from "./dom.js";
import { sortable } from "./drag.js";
import { clock, currentLanguage, t } from "./i18n.js";
import { attempt, say } from "./notice.js";
import { footage } from "./sketch.js";

/** @typedef {import("./api.js").Board} Board */
/** @typedef {import("./api.js").Shot} Shot */

const PREVIEW_SIDE = 640;
/** Pixels of the strip's height. */
const STRIP = 72;
/** @type {(video: import("./api.js").Video) => void} */
let sent;

/** @param {typeof sent} given told of every film that is sent off */
export function startDesk(given) {
  sent = given;
  const place = byId("board");
  sortable(place, { items: ".card", handle: ".handle", moved: moveShot });
  document.addEventListener("language", render);
  document.addEventListener("board", (event) => {
    const what = /** @type {CustomEvent} */ (event).detail;
    if (what === "all") render();
    if (what === "values" && draft.board) {
      redraw(draft.board);
      replace(byId("strip"), ...strip(draft.board));
      byId("board-length").textContent = summary(draft.board);
    }
    complain();
  });
  document.addEventListener("keydown", (event) => {
    const isText = /** @type {HTMLElement} */ (event.target).matches("input, textarea, select");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !isText && draft.board) {
      event.preventDefault();
      undo(event.shiftKey);
    }
  });
  render();
  if (draft.board) check();
}

function render() {
  const place = byId("board");
  const { board } = draft;
  place.hidden = false;
  place.classList.toggle("bare", !board);
  const focus = place.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.key : undefined;
  if (!board) replace(place, start());
  else replace(place, head(board), notes(), strips(board), el("ol", { class: "cards" }, ...board.shots.map((_, index) => card(board, index, again)), el("li", { class: "card add" }, adder())), company(board));
  if (focus) /** @type {HTMLElement | null} */ (place.querySelector(`[data-key="${CSS.escape(focus)}"]`))?.focus();
  complain();
}

/** What stands in the place of a board that is not there yet. */
function start() {
  return el("div", { class: "row start" },
    el("h2", { id: "board-title", class: "visually-hidden" }, t("board")),
    el("button", { type: "button", class: "quiet", id: "new-board", onclick: () => lay(emptyBoard(size(), currentLanguage())) }, icon("plus"), t("boardNew")),
    chooser());
}

function chooser() {
  const input = el("input", { type: "file", accept: ".json,application/json", class: "hidden-input", id: "open-board" });
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    try {
      lay(await readBoard(file));
    } catch (error) {
      say(t("boardUnread", { name: file.name, why: /** @type {Error} */ (error).message }), { bad: true });
    }
  });
  return el("label", { class: "quiet button" }, input, t("boardImport"));
}

/** @param {Board} board */
function head(board) {
  return el("header", { class: "board-head" },
    el("div", { class: "board-name" },
      el("h2", { id: "board-title" }, t("board")),
      el("input", {
        class: "title", "aria-label": t("boardTitle"), placeholder: t("boardUntitled"), ".value": board.title, maxlength: 200, "data-key": "title", "data-path": "title",
        oninput: (/** @type {InputEvent} */ event) => change((b) => { b.title = /** @type {HTMLInputElement} */ (event.target).value; }, true),
      }),
      el("span", { class: "soft", id: "board-length" }, summary(board))),
    el("div", { class: "row" },
      iconButton("undo", t("undo"), () => undo(), { disabled: !canUndo(), "data-key": "undo" }),
      iconButton("redo", t("redo"), () => undo(true), { disabled: !canRedo(), "data-key": "redo" }),
      el("button", { type: "button", class: "quiet", id: "repair", onclick: repair, "data-key": "repair" }, t("boardRepair")),
      chooser(),
      el("button", { type: "button", class: "quiet", id: "save-board", onclick: save }, t("boardExport")),
      iconButton("close", t("boardClose"), () => lay(null), { "data-key": "close", id: "close-board" })),
    el("p", { class: "problem", id: "board-problem", role: "alert", hidden: true }),
    el("div", { class: "actions" },
      el("button", { type: "button", class: "second", id: "act-out", title: t("boardPreviewHint"), onclick: preview }, t("boardPreview")),
      el("button", { type: "button", class: "main", id: "film-board", onclick: film }, icon("play"), t("boardFilm"))));
}

/** @param {Board} board */
function summary(board) {
  const count = board.shots.length;
  const shots = count === 1 ? t("boardShot") : t("boardShots", { n: count });
  return `${t("boardIs", { shots, length: clock(total(board)) })} · ${board.size.replace("x", " × ")}`;
}

function notes() {
  if (!draft.notes.length) return null;
  return el("details", { class: "notes", open: true }, el("summary", {}, t("boardNotes")), el("ul", {}, ...draft.notes.map((note) => el("li", {}, note))));
}

/** @param {Board} board */
function strips(board) {
  return el("nav", { class: "timeline", "aria-label": t("timeline") }, el("ol", { id: "strip", class: "strip" }, ...strip(board)));
}

/** @param {Board} board */
function strip(board) {
  return board.shots.map((shot, index) => {
    const seconds = Number(shot.duration) || 0;
    const words = t("timelineShot", { n: index + 1, length: clock(seconds), action: shot.action });
    const item = el("li", {}, el("button", {
      type: "button", title: words, "aria-label": words, "data-key": `strip-${shot.id}`, class: shot.transition.type === "cut" ? "" : "soft-edge",
      onclick: () => {
        const target = byId(`shot-${shot.id}`);
        target.scrollIntoView({ block: "center" });
        /** @type {HTMLElement | null} */ (target.querySelector("textarea"))?.focus({ preventScroll: true });
      },
    }, footage(board, shot, STRIP), el("b", {}, String(index + 1)), el("small", {}, clock(seconds))));
    item.style.flexGrow = String(Math.max(0.25, seconds));
    return item;
  });
}

function adder() {
  return el("button", {
    type: "button", class: "add-shot", "data-key": "add",
    onclick: () => change((board) => {
      const last = board.shots.at(-1);
      const made = newShot(freeId("s", board.shots));
      board.shots.push({ ...made, location: last?.location ?? null, characters: structuredClone(last?.characters ?? []), scale: last?.scale === "wide" ? "medium" : "wide" });
    }),
  }, icon("plus"), t("shotAdd"));
}

/** @param {Board} board */
function company(board) {
  return el("details", { class: "company", open: true }, el("summary", {}, t("boardCast")),
    el("div", { class: "company-lists" },
      people(board), places(board),
      field(t("boardLook"), typed("style.look", board.style.look, (b, value) => { b.style.look = value; }), { class: "field", "data-path": "style.look" })));
}

/**
 * @param {string} key
 * @param {string} value
 * @param {(board: Board, value: string) => void} write
 * @param {Record<string, any>} [more]
 */
function typed(key, value, write, more = {}) {
  const input = el("input", {
    type: "text", maxlength: 2000, ".value": value, "data-key": key, "data-path": key, ...more,
    oninput: () => change((board) => write(board, input.value), true),
    onchange: () => change(() => {}),
  });
  return input;
}

/** @param {Board} board */
function people(board) {
  return el("fieldset", { class: "nouns" }, el("legend", {}, t("people_")),
    ...board.characters.map((person, n) => el("div", { class: "noun" },
      ...(/** @type {const} */ (["name", "look", "wardrobe", "voice"])).map((what) => field(t(what), typed(`characters[${n}].${what}`, person[what], (b, value) => { b.characters[n][what] = value; }))),
      iconButton("bin", t("remove", { name: person.name || person.id }), () => change((b) => {
        b.characters.splice(n, 1);
        for (const shot of b.shots) {
          shot.characters = shot.characters.filter((cast) => cast.id !== person.id);
          shot.dialogue = shot.dialogue.filter((line) => line.character !== person.id);
        }
      })))),
    el("button", { type: "button", class: "quiet small", "data-key": "add-person", onclick: () => change((b) => {
      b.characters.push({ id: freeId("c", b.characters), name: "", look: "", wardrobe: "", voice: "", references: [] });
    }) }, icon("plus"), t("personAdd")));
}

/** @param {Board} board */
function places(board) {
  return el("fieldset", { class: "nouns" }, el("legend", {}, t("places_")),
    ...board.locations.map((place, n) => el("div", { class: "noun" },
      ...(/** @type {["description" | "time" | "weather", string][]} */ ([["description", "place"], ["time", "time"], ["weather", "weather"]])).map(([what, label]) => field(t(label), typed(`locations[${n}].${what}`, place[what], (b, value) => { b.locations[n][what] = value; }))),
      iconButton("bin", t("remove", { name: place.description || place.id }), () => change((b) => {
        b.locations.splice(n, 1);
        for (const shot of b.shots) if (shot.location === place.id) shot.location = null;
      })))),
    el("button", { type: "button", class: "quiet small", "data-key": "add-place", onclick: () => change((b) => {
      b.locations.push({ id: freeId("l", b.locations), description: "", time: "", weather: "" });
    }) }, icon("plus"), t("placeAdd")));
}

/** Show what the server refuses at the field that it names, or at the nearest field around it. */
function complain() {
  const place = byId("board");
  for (const old of place.querySelectorAll(".problem:not(#board-problem)")) old.remove();
  for (const old of place.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
  const whole = place.querySelector("#board-problem");
  if (!draft.board || !whole) return;
  const { problem } = draft;
  const isBad = problem !== null;
  for (const id of ["film-board", "act-out"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = isBad;
  /** @type {HTMLElement} */ (whole).hidden = true;
  if (!problem) return;
  const named = around(place, problem.param);
  if (!named) {
    whole.textContent = problem.message;
    /** @type {HTMLElement} */ (whole).hidden = false;
    return;
  }
  named.closest("details")?.setAttribute("open", "");
  const box = named.matches("input, select, textarea") ? named.closest(".field") ?? named : named;
  box.append(el("span", { class: "problem", role: "alert" }, problem.message.replace(/^[\w.[\]]+: /, "")));
  (named.matches("input, select, textarea") ? named : named.querySelector("input, textarea, select"))?.setAttribute("aria-invalid", "true");
}

/**
 * @param {HTMLElement} place
 * @param {string} path such as shots[2].characters[0].id
 * @returns {HTMLElement | null}
 */
function around(place, path) {
  for (let name = path; name; name = name.replace(/(\.\w+|\[\d+\]|^\w+)$/, "")) {
    const found = place.querySelector(`[data-path="${CSS.escape(name)}"]`);
    if (found) return /** @type {HTMLElement} */ (found);
  }
  return null;
}

function save() {
  const { board } = draft;
  if (!board) return;
  const url = URL.createObjectURL(new Blob([JSON.stringify(board, null, 1)], { type: "application/json" }));
  el("a", { href: url, download: `${board.title.replace(/[^\p{L}\p{N} _-]/gu, "").trim() || "board"}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function repair() {
  await attempt(async () => {
    const answer = await call("POST", "v1/longtake/storyboards/repair", { storyboard: draft.board });
    const left = answer.findings.map((/** @type {{shot: string, message: string}} */ one) => (one.shot ? `${one.shot}: ${one.message}` : one.message));
    const all = [...answer.notes, ...left];
    lay(answer.board, { ...draft, notes: all });
    if (!all.length) say(t("boardFine"));
  });
}

async function film() {
  if (!draft.board || !(await check())) return;
  await attempt(async () => {
    const made = await send({ ...recipe(), prompt: called(/** @type {Board} */ (draft.board)), storyboard: draft.board });
    madeInto(made.id);
    sent(made);
  });
}

async function preview() {
  if (!draft.board || !(await check())) return;
  await attempt(async () => {
    const board = /** @type {Board} */ (draft.board);
    const [width, height] = board.size.split("x").map(Number);
    const share = Math.min(1, PREVIEW_SIDE / Math.max(width, height));
    const small = [width, height].map((side) => Math.max(128, 2 * Math.round(side * share / 2))).join("x");
    sent(await send({ model: "animatic", prompt: called(board), sound: recipe().sound, storyboard: { ...board, size: small } }));
  });
}

/** @param {Shot} shot a new take of it; everything else stays */
async function again(shot) {
  if (!draft.source) {
    say(t("shotAgainFirst"));
    return;
  }
  await attempt(async () => {
    const made = await call("POST", `v1/longtake/videos/${draft.source}/remake`, { shot: shot.id, storyboard: draft.board });
    const { board } = await call("GET", `v1/longtake/videos/${made.id}/storyboard`);
    lay(board, draft);
    sent(made);
  });
}
