/** The storyboard that is being worked on: its state, its past, and what the server says of it. */
import { Refusal, call } from "./api.js";

/** @typedef {import("./api.js").Board} Board */
/** @typedef {import("./api.js").Shot} Shot */

const KEPT = "longtake.board";
const MOST_PAST = 100;
const PAUSE = 300;
/** Changes of values that follow each other so fast are undone together. */
const BURST = 1000;

/**
 * @typedef {object} Draft
 * @property {Board | null} board
 * @property {string} words it was directed from
 * @property {string[]} notes of the director
 * @property {{param: string, message: string} | null} problem what the server refused, and the field it named
 * @property {string | null} source id of the film that was made from it
 */

/** @type {Draft} */
export const draft = { board: null, words: "", notes: [], problem: null, source: null, ...kept() };
/** @type {string[]} */
let past = [];
/** @type {string[]} */
let future = [];
/** @type {ReturnType<typeof setTimeout> | undefined} */
let soon;
let asked = 0;
let typedAt = 0;

/** @returns {Partial<Draft>} */
function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  } catch {
    return {};
  }
}

function tell(/** @type {"all" | "values" | "problem"} */ what) {
  if (what !== "problem")
    localStorage.setItem(
      KEPT,
      JSON.stringify({ board: draft.board, words: draft.words, notes: draft.notes, source: draft.source }),
    );
  document.dispatchEvent(new CustomEvent("board", { detail: what }));
}

/**
 * Put a board on the desk, or take the one there away.
 * @param {Board | null} board
 * @param {Partial<Pick<Draft, "words" | "notes" | "source">>} [more]
 */
export function lay(board, { words = "", notes = [], source = null } = {}) {
  if (draft.board) remember();
  Object.assign(draft, { board, words, notes, source, problem: null });
  tell("all");
  if (board) check();
}

/** @param {string} id of the film that is made from the board now; its shots can be made again one by one */
export function madeInto(id) {
  draft.source = id;
  tell("values");
}

function remember() {
  const now = JSON.stringify(draft.board);
  if (past.at(-1) !== now) past = [...past, now].slice(-MOST_PAST);
  future = [];
}

/**
 * Change the board.
 * @param {(board: Board) => void} edit
 * @param {boolean} [isTyping] only a value changed: fields stay as they are
 */
export function change(edit, isTyping = false) {
  if (!draft.board) return;
  if (!isTyping || Date.now() - typedAt > BURST) remember();
  typedAt = isTyping ? Date.now() : 0;
  const board = structuredClone(draft.board);
  edit(board);
  draft.board = board;
  tell(isTyping ? "values" : "all");
  clearTimeout(soon);
  soon = setTimeout(check, PAUSE);
}

export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

/** @param {boolean} forward redo instead */
export function undo(forward = false) {
  const [from, to] = forward ? [future, past] : [past, future];
  const found = from.pop();
  if (found === undefined) return;
  to.push(JSON.stringify(draft.board));
  draft.board = JSON.parse(found);
  tell("all");
  check();
}

/** Have the server look at the board. @returns {Promise<boolean>} whether it can be filmed */
export async function check() {
  clearTimeout(soon);
  if (!draft.board) return false;
  const mine = ++asked;
  /** @type {Draft["problem"]} */
  let problem = null;
  try {
    await call("POST", "v1/longtake/storyboards/check", { storyboard: draft.board });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problem = {
      param: (error.param ?? "").replace(/^storyboard\.?/, ""),
      message: error.message.replace(/^storyboard: /, ""),
    };
  }
  if (mine === asked) {
    draft.problem = problem;
    tell("problem");
  }
  return problem === null;
}

/** @returns {Board} with one shot, to begin with */
export function emptyBoard(/** @type {string} */ size, /** @type {string} */ language) {
  return {
    version: 1,
    title: "",
    language,
    size,
    fps: 24,
    seed: Math.floor(Math.random() * 2 ** 32),
    style: { look: "", palette: [], negative: "" },
    characters: [],
    locations: [],
    shots: [newShot("s1")],
  };
}

/** @param {string} id @returns {Shot} */
export function newShot(id) {
  return {
    id,
    duration: 4,
    location: null,
    characters: [],
    scale: "wide",
    angle: "eye_level",
    camera: { move: "static", speed: "slow", support: "tripod" },
    action: "",
    narration: "",
    dialogue: [],
    sound: "",
    transition: { type: "cut", duration: 0 },
    continue_from: null,
    seed: null,
    locked: false,
  };
}

/**
 * An id that is free: s7, c2, l1.
 * @param {string} letter
 * @param {{id: string}[]} nouns
 */
export function freeId(letter, nouns) {
  const used = new Set(nouns.map((one) => one.id));
  for (let n = 1; ; n += 1) if (!used.has(letter + n)) return letter + n;
}

/**
 * Shots that carry on from one that no longer comes before them begin anew; says which.
 * @param {Board} board
 * @returns {{shot: string, other: string}[]}
 */
export function loosen(board) {
  /** @type {{shot: string, other: string}[]} */
  const freed = [];
  const earlier = new Set();
  for (const shot of board.shots) {
    if (shot.continue_from && !earlier.has(shot.continue_from)) {
      freed.push({ shot: shot.id, other: shot.continue_from });
      shot.continue_from = null;
    }
    earlier.add(shot.id);
  }
  return freed;
}

/** What a film made from the board is called: the words it came from, its title, or what happens in it. @param {Board} board */
export const called = (board) =>
  (
    draft.words ||
    board.title ||
    board.shots
      .map((shot) => shot.action)
      .filter(Boolean)
      .join(" ")
  ).slice(0, 2000);

/** @param {Board} board */
export const total = (board) => board.shots.reduce((sum, shot) => sum + (Number(shot.duration) || 0), 0);

/**
 * Fill a board read from a file up with what it leaves out, so that every field can be edited; the server has checked it.
 * @param {Blob} file
 * @returns {Promise<Board>}
 */
export async function readBoard(file) {
  const text = await file.text();
  return (await call("POST", "v1/longtake/storyboards/check", { storyboard: JSON.parse(text) })).board;
}
