/** Any file, and what its marks say. */
import { call } from "./api.js";
import { byId, el, icon, replace } from "./dom.js";
import { droppable } from "./drag.js";
import { currentLanguage, named, t } from "./i18n.js";

/** @typedef {{verdict: string, signals: {name: string, found: boolean, detail: string}[], altered: string[], produce_id: string, record: any}} Report */

/** @type {{file: File, report: Report | null, problem: string} | null} */
let seen = null;

export function startVerify() {
  document.addEventListener("language", () => (seen ? examine(seen.file) : render()));
  render();
}

/** @param {File} file whose marks are looked for */
export async function examine(file) {
  const mine = { file, report: /** @type {Report | null} */ (null), problem: "" };
  seen = mine;
  render();
  const form = new FormData();
  form.append("file", file);
  form.append("language", currentLanguage());
  try {
    mine.report = await call("POST", "v1/longtake/verify", form);
  } catch (error) {
    mine.problem = /** @type {Error} */ (error).message;
  }
  if (seen === mine) render();
}

function render() {
  const input = el("input", {
    type: "file",
    accept: "image/*,video/*",
    class: "hidden-input",
    id: "verify-file",
    "data-key": "verify-file",
  });
  const place = el("label", { class: "drop" }, input, icon("film"), el("span", {}, t("verifyDrop")));
  droppable(place, input, examine);
  replace(byId("verify"), place, el("div", { id: "verdict", "aria-live": "polite" }, seen && shown(seen)));
}

/** @param {NonNullable<typeof seen>} one */
function shown({ file, report, problem }) {
  if (problem) return el("p", { class: "problem" }, problem);
  if (!report) return el("p", { class: "busy", role: "status" }, t("verifyBusy", { name: file.name }));
  const kind =
    report.verdict === "generated" ? "made" : report.verdict === "no marks found" ? "unknown" : "altered";
  const asked = report.record?.request ?? {};
  const rows = [
    [t("prompt"), asked.prompt],
    [t("model"), asked.model],
    [t("seed"), asked.seed],
    ["ProduceID", report.produce_id],
  ].filter(([, value]) => value || value === 0);
  return el(
    "article",
    { class: `verdict ${kind}` },
    el("p", { class: "soft" }, file.name),
    el("h3", {}, named("verdict", report.verdict)),
    el("p", {}, named("verdictLead", report.verdict)),
    report.altered.length > 0 &&
      el("ul", { class: "altered" }, ...report.altered.map((line) => el("li", {}, line))),
    el(
      "ul",
      { class: "signals" },
      ...report.signals.map((signal) =>
        el(
          "li",
          { class: signal.found ? "found" : "" },
          icon(signal.found ? "tick" : "dash"),
          el(
            "div",
            {},
            el("b", {}, named("signal", signal.name)),
            el("span", { class: "state" }, t(signal.found ? "found" : "missing")),
            el("small", {}, signal.detail),
          ),
        ),
      ),
    ),
    rows.length > 0 &&
      el(
        "details",
        { class: "record" },
        el("summary", {}, t("recordTitle")),
        el(
          "dl",
          { class: "facts" },
          ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]),
        ),
      ),
  );
}
