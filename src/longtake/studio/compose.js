/** The form in which a film is asked for: words, length, shape, model, sound, a picture. */
import { call } from "./api.js";
import { droppable } from "./drag.js";
import { byId, el, field, icon, iconButton, replace, select } from "./dom.js";
import { t } from "./i18n.js";

const KEPT = "longtake.compose";
const LONGEST = 60;
/** Widths and heights of a landscape film; the others are turned or cut square. */
const SIZES = [
  [640, 360],
  [960, 540],
  [1280, 720],
  [1920, 1080],
];
const TAKES = ["1", "2", "3"];
const MUSIC = ["auto", "none", "calm", "warm", "bright", "night", "tense"];

const state = {
  prompt: "",
  seconds: 4,
  shape: "landscape",
  quality: 2,
  width: 1280,
  height: 720,
  model: "",
  seed: "",
  takes: "",
  oneTake: false,
  sound: true,
  music: "auto",
  steps: "",
  guidance: "",
  negative: "",
  ...JSON.parse(localStorage.getItem(KEPT) ?? "{}"),
};
/** @type {Blob | null} */
let picture = null;
/** @type {string[]} */
let models = [];
/** @type {{board: () => Promise<void>, film: () => Promise<void>}} */
let acts;
let busy = false;

/** @param {typeof acts} given what the two buttons do @returns {Promise<void>} */
export async function startCompose(given) {
  acts = given;
  render();
  document.addEventListener("language", render);
  document.addEventListener("key", () => {
    learn().catch(() => {});
  });
  await learn();
}

/** Ask for the models there are. */
async function learn() {
  const answer = await call("GET", "v1/longtake/models");
  models = answer.data
    .map((/** @type {{id: string}} */ one) => one.id)
    .filter((/** @type {string} */ id) => !id.startsWith("sora-") && id !== "animatic");
  if (!models.includes(state.model)) state.model = models[0];
  render();
}

/** @returns {string} such as 1280x720 */
export function size() {
  if (state.shape === "free") return `${state.width}x${state.height}`;
  const [long, short] = SIZES[state.quality];
  if (state.shape === "square") return `${short}x${short}`;
  return state.shape === "portrait" ? `${short}x${long}` : `${long}x${short}`;
}

/** What is asked of the director. @returns {Record<string, any>} */
export function script() {
  const seed = state.seed === "" ? {} : { seed: Number(state.seed) };
  return {
    prompt: state.prompt,
    seconds: Number(state.seconds),
    size: size(),
    model: state.model,
    one_take: state.oneTake,
    ...seed,
  };
}

/** What decides a film beside its board. @returns {Record<string, any>} */
export function recipe() {
  /** @type {Record<string, any>} */
  const values = { model: state.model, sound: state.sound, music: state.music };
  if (state.takes !== "") values.takes = Number(state.takes);
  if (state.steps !== "") values.steps = Number(state.steps);
  if (state.guidance !== "") values.guidance = Number(state.guidance);
  if (state.negative !== "") values.negative = state.negative;
  return values;
}

/**
 * Send a film off.
 * @param {Record<string, any>} values
 * @returns {Promise<import("./api.js").Video>}
 */
export function send(values) {
  const form = new FormData();
  for (const [name, value] of Object.entries(values))
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  if (picture && values.model !== "animatic") form.append("input_reference", picture, "picture.png");
  return call("POST", "v1/videos", form);
}

/** @param {Blob | null} given the picture the next film begins with */
export function beginWith(given) {
  picture = given;
  render();
}

/**
 * Fill the form, such as from a film of the gallery.
 * @param {Partial<typeof state>} values
 */
export function fill(values) {
  Object.assign(state, values);
  keep();
  render();
}

function keep() {
  localStorage.setItem(KEPT, JSON.stringify(state));
}

/**
 * Mark the field that the server named; false when the form has no such field.
 * @param {string | null} param
 * @param {string} message
 */
export function complain(param, message) {
  const form = byId("compose");
  for (const old of form.querySelectorAll(".problem")) old.remove();
  for (const old of form.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
  const named = param === "input_reference[image_url]" ? "input_reference" : param;
  const place = /** @type {HTMLElement | null} */ (
    named && form.querySelector(`[data-field~="${CSS.escape(named)}"]`)
  );
  if (!place) return false;
  place.closest("details")?.setAttribute("open", "");
  place.append(el("span", { class: "problem", role: "alert" }, message));
  const control = /** @type {HTMLElement | null} */ (place.querySelector("input, textarea, select, button"));
  control?.setAttribute("aria-invalid", "true");
  control?.focus();
  return true;
}

/**
 * An input bound to a field of the state.
 * @param {keyof typeof state} name
 * @param {Record<string, any>} attributes
 * @param {() => void} [after]
 */
function bound(name, attributes, after) {
  return el("input", {
    "data-key": name,
    ".value": state[name],
    ...attributes,
    oninput: (/** @type {InputEvent} */ event) => {
      const input = /** @type {HTMLInputElement} */ (event.target);
      state[name] = input.type === "checkbox" ? input.checked : input.value;
      keep();
      after?.();
    },
  });
}

/**
 * @param {keyof typeof state} name
 * @param {[string, string][]} options
 * @param {() => void} [after]
 */
function chosen(name, options, after) {
  return select(options, String(state[name]), {
    "data-key": name,
    onchange: (/** @type {Event} */ event) => {
      const value = /** @type {HTMLSelectElement} */ (event.target).value;
      state[name] = typeof state[name] === "number" ? Number(value) : value;
      keep();
      after?.();
    },
  });
}

function render() {
  const form = /** @type {HTMLFormElement} */ (byId("compose"));
  form.onsubmit = (event) => {
    event.preventDefault();
    const which =
      /** @type {HTMLButtonElement | null} */ (event.submitter)?.value === "board" ? acts.board : acts.film;
    run(which);
  };
  replace(form, words(), settings(), advanced(), buttons());
}

/** @param {() => Promise<void>} act */
async function run(act) {
  if (busy) return;
  busy = true;
  complain(null, "");
  const bar = byId("compose").querySelector(".actions");
  bar?.setAttribute("aria-busy", "true");
  try {
    await act();
  } finally {
    busy = false;
    bar?.removeAttribute("aria-busy");
  }
}

function words() {
  const area = el("textarea", {
    id: "prompt",
    name: "prompt",
    rows: 3,
    maxlength: 2000,
    "data-key": "prompt",
    placeholder: t("promptHint"),
    "aria-label": t("prompt"),
    ".value": state.prompt,
    oninput: () => {
      state.prompt = area.value;
      keep();
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(acts.film);
    },
  });
  return el("div", { class: "words", "data-field": "prompt" }, area);
}

function settings() {
  const shown = el("output", { for: "seconds" }, `${state.seconds} ${t("s")}`);
  const seconds = bound("seconds", { id: "seconds", type: "range", min: 1, max: LONGEST, step: 1 }, () => {
    shown.textContent = `${state.seconds} ${t("s")}`;
  });
  const shapes = el(
    "fieldset",
    { class: "field shapes", "data-field": "size" },
    el("legend", {}, t("shape")),
    el(
      "div",
      { class: "segments" },
      ...["landscape", "portrait", "square", "free"].map((shape) =>
        el(
          "label",
          { class: "segment" },
          el("input", {
            type: "radio",
            name: "shape",
            value: shape,
            "data-key": `shape-${shape}`,
            checked: state.shape === shape,
            onchange: () => {
              state.shape = shape;
              keep();
              render();
            },
          }),
          el("i", { class: `ratio ${shape}` }),
          t(`shape.${shape}`),
        ),
      ),
    ),
  );
  const free = state.shape === "free";
  return el(
    "div",
    { class: "settings" },
    el(
      "label",
      { class: "field length", for: "seconds", "data-field": "seconds" },
      el("span", {}, t("length"), " ", shown),
      seconds,
    ),
    shapes,
    free &&
      field(t("width"), bound("width", { type: "number", min: 128, max: 1920, step: 2 }), {
        class: "field short",
      }),
    free &&
      field(t("height"), bound("height", { type: "number", min: 128, max: 1920, step: 2 }), {
        class: "field short",
      }),
    !free &&
      field(
        t("quality"),
        chosen(
          "quality",
          SIZES.map((_, index) => [String(index), sizeOf(index)]),
        ),
      ),
    field(
      t("model"),
      chosen(
        "model",
        models.map((one) => [one, one]),
      ),
      { "data-field": "model" },
    ),
    begin(),
    el(
      "div",
      { class: "switches" },
      el(
        "label",
        { class: "switch" },
        bound("oneTake", { type: "checkbox", checked: state.oneTake }),
        t("oneTake"),
      ),
      el(
        "label",
        { class: "switch" },
        bound("sound", { type: "checkbox", checked: state.sound }),
        t("sound"),
      ),
    ),
  );
}

/** @param {number} index */
function sizeOf(index) {
  const [long, short] = SIZES[index];
  if (state.shape === "square") return `${short} × ${short}`;
  return state.shape === "portrait" ? `${short} × ${long}` : `${long} × ${short}`;
}

function begin() {
  const input = el("input", {
    type: "file",
    accept: "image/png,image/jpeg,image/webp",
    class: "hidden-input",
    "aria-label": t("picture"),
    "data-key": "picture",
  });
  const url = picture && URL.createObjectURL(picture);
  const image = url && el("img", { src: url, alt: "", onload: () => URL.revokeObjectURL(url) });
  const place = el(
    "label",
    { class: picture ? "begin has" : "begin", title: t("pictureDrop") },
    input,
    image || icon("picture"),
    el("span", {}, picture ? t("pictureChange") : t("picture")),
  );
  droppable(place, input, beginWith);
  return el(
    "div",
    { class: "field picture", "data-field": "input_reference" },
    place,
    picture && iconButton("close", t("pictureRemove"), () => beginWith(null)),
  );
}

function advanced() {
  const own = t("modelsOwn");
  const isOpen = state.takes || state.steps || state.guidance || state.negative || state.seed;
  return el(
    "details",
    {
      class: "advanced",
      open: Boolean(isOpen) || Boolean(document.querySelector("#compose details")?.hasAttribute("open")),
    },
    el("summary", {}, t("advanced")),
    el(
      "div",
      { class: "settings" },
      el(
        "label",
        { class: "field", "data-field": "seed" },
        el("span", {}, t("seed")),
        bound("seed", { type: "number", min: 0, max: 4294967295, step: 1, placeholder: t("seedAny") }),
      ),
      field(t("takes"), chosen("takes", [["", t("takesUsual")], ...TAKES.map((count) => [count, count])]), {
        "data-field": "takes",
        title: t("takesHint"),
      }),
      field(
        t("music"),
        chosen(
          "music",
          MUSIC.map((mood) => [mood, t(`music.${mood}`)]),
        ),
        { "data-field": "music" },
      ),
      field(t("steps"), bound("steps", { type: "number", min: 1, max: 100, step: 1, placeholder: own }), {
        "data-field": "steps",
      }),
      field(
        t("guidance"),
        bound("guidance", { type: "number", min: 1, max: 20, step: 0.5, placeholder: own }),
        { "data-field": "guidance" },
      ),
      field(t("negative"), bound("negative", { type: "text", maxlength: 2000 }), {
        class: "field wide",
        "data-field": "negative",
      }),
    ),
  );
}

function buttons() {
  return el(
    "div",
    { class: "actions" },
    el("button", { class: "second", type: "submit", value: "board", id: "make-board" }, t("makeBoard")),
    el("button", { class: "main", type: "submit", value: "film", id: "film-it" }, icon("play"), t("filmIt")),
  );
}
