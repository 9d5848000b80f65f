/** Short messages, questions that need an answer, and the key. */
import { key } from "./api.js";
import { byId, el } from "./dom.js";
import { t } from "./i18n.js";

const SHOWN = 5000,
  MOST = 3;

/**
 * Say something that goes away by itself, and is read aloud.
 * @param {string} words
 * @param {{bad?: boolean, act?: [string, () => void]}} [how]
 */
export function say(words, { bad = false, act } = {}) {
  const all = byId("toasts");
  for (const old of all.children) if (old.firstChild?.textContent === words) old.remove();
  while (all.children.length >= MOST) all.firstChild?.remove();
  const note = el("div", { class: bad ? "toast bad" : "toast" }, el("span", {}, words));
  if (act)
    note.append(
      el(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => {
            note.remove();
            act[1]();
          },
        },
        act[0],
      ),
    );
  all.append(note);
  setTimeout(() => note.remove(), bad || act ? 2 * SHOWN : SHOWN);
}

/**
 * Do something that may be refused; the refusal is shown.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(/** @type {Error} */ (error).message, { bad: true });
    return undefined;
  }
}

/**
 * Show a dialog until it is closed, and hand over how.
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<string>}
 */
export function show(dialog) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    }),
  );
}

/**
 * @param {string} question
 * @param {string} yes
 */
export async function confirmed(question, yes) {
  const dialog = el(
    "dialog",
    { class: "ask" },
    el(
      "form",
      { method: "dialog" },
      el("p", {}, question),
      el(
        "div",
        { class: "row end" },
        el("button", { class: "quiet", value: "" }, t("cancel")),
        el("button", { class: "main bad", value: "yes" }, yes),
      ),
    ),
  );
  return (await show(dialog)) === "yes";
}

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * Ask for a key, once however many requests wait for it.
 * @param {boolean} [isRefused] the server does not know the one there is
 */
export function askForKey(isRefused = false) {
  asking ??= askOnce(isRefused).finally(() => {
    asking = null;
  });
  return asking;
}

/** @param {boolean} isRefused */
async function askOnce(isRefused) {
  const input = el("input", {
    type: "password",
    name: "key",
    autocomplete: "off",
    required: true,
    spellcheck: "false",
    autofocus: true,
  });
  const dialog = el(
    "dialog",
    { class: "ask", id: "key-dialog", "aria-labelledby": "key-title" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "key-title" }, t("keyTitle")),
      el("p", { class: "soft" }, t("keyLead")),
      isRefused && el("p", { class: "problem" }, t("keyWrong")),
      el("label", { class: "field" }, el("span", {}, t("keyLabel")), input),
      el(
        "div",
        { class: "row end" },
        key.value !== "" &&
          el("button", { class: "quiet bad", value: "forget", formnovalidate: true }, t("keyForget")),
        el("button", { class: "quiet", value: "", formnovalidate: true }, t("cancel")),
        el("button", { class: "main", value: "use" }, t("keyUse")),
      ),
    ),
  );
  const how = await show(dialog);
  const used = how === "use" && input.value.trim() !== "";
  if (used) key.value = input.value.trim();
  if (how === "forget") {
    key.value = "";
    location.reload(); // what the key showed goes with it
  }
  if (used) document.dispatchEvent(new Event("key"));
  return used;
}
