/** The storyboard on the page: its head, its timeline, its cards, its people and places. */
import { call } from "./api.js";
import {
  called,
  canRedo,
  canUndo,
  change,
  check,
  draft,
  emptyBoard,
  freeId,
  lay,
  madeInto,
  newShot,
  readBoard,
  undo,
} from "./board.js";
import { card, moveShot, redraw } from "./cards.js";
import { company } from "./company.js";
import { recipe, send, size } from "./compose.js";
import { byId, el, icon, iconButton, replace } from "./dom.js";
import { sortable } from "./drag.js";
import { currentLanguage, t } from "./i18n.js";
import { attempt, say } from "./notice.js";
import { strip, summary } from "./timeline.js";

/** @typedef {import("./api.js").Board} Board */
/** @typedef {import("./api.js").Shot} Shot */

const PREVIEW_SIDE = 640;
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
      /** @type {HTMLButtonElement} */ (byId("undo")).disabled = !canUndo();
      /** @type {HTMLButtonElement} */ (byId("redo")).disabled = !canRedo();
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
  place.classList.toggle("bare", !board);
  if (!board) replace(place, start());
  else
    replace(
      place,
      head(board),
      notes(),
      strips(board),
      el(
        "ol",
        { class: "cards" },
        ...board.shots.map((_, index) => card(board, index, again)),
        el("li", { class: "card add" }, adder()),
      ),
      company(board),
    );
  complain();
}

/** What stands in the place of a board that is not there yet. */
function start() {
  return el(
    "div",
    { class: "row start" },
    el("h2", { id: "board-title", class: "visually-hidden" }, t("board")),
    el(
      "button",
      {
        type: "button",
        class: "quiet",
        id: "new-board",
        onclick: () => lay(emptyBoard(size(), currentLanguage())),
      },
      icon("plus"),
      t("boardNew"),
    ),
    chooser(),
  );
}

function chooser() {
  const input = el("input", {
    type: "file",
    accept: ".json,application/json",
    class: "hidden-input",
    id: "open-board",
  });
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
  const title = el("input", {
    class: "title",
    "aria-label": t("boardTitle"),
    placeholder: t("boardUntitled"),
    ".value": board.title,
    maxlength: 200,
    "data-key": "title",
    "data-path": "title",
    oninput: () =>
      change((b) => {
        b.title = title.value;
      }, true),
  });
  return el(
    "header",
    { class: "board-head" },
    el(
      "div",
      { class: "board-name" },
      el("h2", { id: "board-title" }, t("board")),
      title,
      el("span", { class: "soft", id: "board-length" }, summary(board)),
    ),
    el(
      "div",
      { class: "row" },
      iconButton("undo", t("undo"), () => undo(), { disabled: !canUndo(), id: "undo", "data-key": "undo" }),
      iconButton("redo", t("redo"), () => undo(true), {
        disabled: !canRedo(),
        id: "redo",
        "data-key": "redo",
      }),
      iconButton("close", t("boardClose"), () => lay(null), { id: "close-board", "data-key": "close" }),
    ),
    el(
      "div",
      { class: "row" },
      action("quiet", "repair", "boardRepair", repair),
      chooser(),
      action("quiet", "save-board", "boardExport", save),
    ),
    el(
      "div",
      { class: "actions" },
      action("second", "act-out", "boardPreview", preview, t("boardPreviewHint")),
      action("main", "film-board", "boardFilm", film),
    ),
    el("p", { class: "problem", id: "board-problem", role: "alert", hidden: true }),
  );
}

/**
 * A button of the head.
 * @param {string} kind
 * @param {string} id
 * @param {string} words
 * @param {() => void} act
 * @param {string} [hint]
 */
function action(kind, id, words, act, hint) {
  return el(
    "button",
    { type: "button", class: kind, id, "data-key": id, title: hint, onclick: act },
    kind === "main" && icon("play"),
    t(words),
  );
}

function notes() {
  if (!draft.notes.length) return null;
  return el(
    "details",
    { class: "notes", open: true },
    el("summary", {}, t("boardNotes")),
    el("ul", {}, ...draft.notes.map((note) => el("li", {}, note))),
  );
}

/** @param {Board} board */
function strips(board) {
  return el(
    "nav",
    { class: "timeline", "aria-label": t("timeline") },
    el("ol", { id: "strip", class: "strip" }, ...strip(board)),
  );
}

function adder() {
  return el(
    "button",
    {
      type: "button",
      class: "add-shot",
      "data-key": "add",
      onclick: () =>
        change((board) => {
          const last = board.shots.at(-1);
          const made = newShot(freeId("s", board.shots));
          board.shots.push({
            ...made,
            location: last?.location ?? null,
            characters: structuredClone(last?.characters ?? []),
            scale: last?.scale === "wide" ? "medium" : "wide",
          });
        }),
    },
    icon("plus"),
    t("shotAdd"),
  );
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
  const box = named.matches("input, select, textarea") ? (named.closest(".field") ?? named) : named;
  box.append(el("span", { class: "problem", role: "alert" }, problem.message.replace(/^[\w.[\]]+: /, "")));
  (named.matches("input, select, textarea")
    ? named
    : named.querySelector("input, textarea, select")
  )?.setAttribute("aria-invalid", "true");
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
  el("a", {
    href: url,
    download: `${board.title.replace(/[^\p{L}\p{N} _-]/gu, "").trim() || "board"}.json`,
  }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function repair() {
  await attempt(async () => {
    const answer = await call("POST", "v1/longtake/storyboards/repair", { storyboard: draft.board });
    const left = answer.findings.map((/** @type {{shot: string, message: string}} */ one) =>
      one.shot ? `${one.shot}: ${one.message}` : one.message,
    );
    const all = [...answer.notes, ...left];
    lay(answer.board, { ...draft, notes: all });
    if (!all.length) say(t("boardFine"));
  });
}

async function film() {
  if (!draft.board || !(await check())) return;
  await attempt(async () => {
    const made = await send({
      ...recipe(),
      prompt: called(/** @type {Board} */ (draft.board)),
      storyboard: draft.board,
    });
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
    const small = [width, height].map((side) => Math.max(128, 2 * Math.round((side * share) / 2))).join("x");
    sent(
      await send({
        model: "animatic",
        prompt: called(board),
        sound: recipe().sound,
        storyboard: { ...board, size: small },
      }),
    );
  });
}

/** @param {Shot} shot a new take of it; everything else stays */
async function again(shot) {
  if (!draft.source) {
    say(t("shotAgainFirst"));
    return;
  }
  await attempt(async () => {
    const made = await call("POST", `v1/longtake/videos/${draft.source}/remake`, {
      shot: shot.id,
      storyboard: draft.board,
    });
    const { board } = await call("GET", `v1/longtake/videos/${made.id}/storyboard`);
    lay(board, draft);
    sent(made);
  });
}
