/** Words in two languages: English and Chinese. */
import { WORDS } from "./words.js";

const KEPT = "longtake.language";
/** @type {"en" | "zh"} */
let language = first();

/** @returns {"en" | "zh"} the language chosen before, or else the browser's */
function first() {
  const kept = localStorage.getItem(KEPT);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** @returns {"en" | "zh"} */
export const currentLanguage = () => language;

/**
 * The words of a key; {name} in them becomes a value.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const pair = /** @type {Record<string, [string, string]>} */ (WORDS)[key];
  if (!pair) return key;
  return pair[language === "en" ? 0 : 1].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/**
 * Words for a value of the board, such as a scale; the value itself where there are none.
 * @param {string} kind
 * @param {string} value
 */
export const named = (kind, value) => (`${kind}.${value}` in WORDS ? t(`${kind}.${value}`) : value);

/** Put the words into the page and let every part build itself anew. */
export function applyLanguage() {
  document.documentElement.lang = language;
  for (const place of document.querySelectorAll("[data-t]"))
    place.textContent = t(place.getAttribute("data-t") ?? "");
  for (const place of document.querySelectorAll("[data-t-aria-label]")) {
    place.setAttribute("aria-label", t(place.getAttribute("data-t-aria-label") ?? ""));
  }
  document.dispatchEvent(new Event("language"));
}

/** The other language, remembered. */
export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem(KEPT, language);
  applyLanguage();
}

/**
 * Seconds as people write them: 8 s, 1:00.
 * @param {number} seconds
 */
export const clock = (seconds) => {
  const whole = Math.round(seconds * 10) / 10;
  return whole < 60
    ? `${whole} ${t("s")}`
    : `${Math.floor(whole / 60)}:${String(Math.round(whole % 60)).padStart(2, "0")}`;
};
