/** A film on its own: played, told about, and made into others. */
import { call, media } from "./api.js";
import { lay } from "./board.js";
import { beginWith, fill } from "./compose.js";
import { el, field, iconButton, select } from "./dom.js";
import { hanging, takeDown } from "./gallery.js";
import { clock, currentLanguage, t } from "./i18n.js";
import { attempt, confirmed, say, show } from "./notice.js";
import { examine } from "./verify.js";

/** @typedef {import("./api.js").Video} Video */
/** @typedef {import("./api.js").Board} Board */

/** @type {{sent: (video: Video) => void, go: (view: string) => void}} */
let page;

/** @param {typeof page} given what happens outside of the dialog */
export function startPlayer(given) {
  page = given;
}

/** @param {Video} video */
export async function play(video) {
  const player = el("video", {
    controls: true,
    playsinline: true,
    preload: "metadata",
    loop: video.task === "loop",
  });
  const [width, height] = video.size.split("x").map(Number);
  player.width = width;
  player.height = height;
  const shots = el("div", { class: "shots" });
  const dialog = el("dialog", { class: "player", "aria-label": video.prompt || t("wordless") });
  const leave = () => dialog.close();
  dialog.append(
    el("div", { class: "screen" }, player, shots),
    el(
      "div",
      { class: "about" },
      el(
        "header",
        {},
        el("h2", {}, video.prompt || t("wordless")),
        iconButton("close", t("close"), leave, { id: "close-player" }),
      ),
      facts(video),
      tools(video, player, leave),
      ...actions(video, leave),
    ),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) leave();
  });
  media(video.id, "video").then(
    (url) => {
      player.src = url;
    },
    (error) => say(error.message, { bad: true }),
  );
  if (video.task === "generate") strip(video, player, shots, leave);
  await show(dialog);
  player.pause();
  player.removeAttribute("src");
  player.load();
}

/** @param {Video} video */
function facts(video) {
  const date = new Date((video.completed_at ?? video.created_at) * 1000);
  const rows = /** @type {[string, string | undefined][]} */ ([
    [t("length"), clock(Number(video.seconds))],
    [t("quality"), video.size.replace("x", " × ")],
    [t("model"), video.model],
    [t("seed"), video.seed?.toString()],
    [t("made"), date.toLocaleString(currentLanguage() === "zh" ? "zh-CN" : "en")],
    [t("caption"), video.caption && video.caption !== video.prompt ? video.caption : undefined],
    [t("notes"), video.notes?.join("\n") || undefined],
  ]);
  return el(
    "dl",
    { class: "facts" },
    ...rows
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

/**
 * @param {Video} video
 * @param {HTMLVideoElement} player
 * @param {() => void} leave
 */
function tools(video, player, leave) {
  const button = (/** @type {string} */ name, /** @type {() => void} */ act, more = {}) =>
    el("button", { type: "button", class: "quiet", onclick: act, ...more }, t(name));
  return el(
    "div",
    { class: "row tools" },
    button("download", () => attempt(() => download(video.id)), { id: "download" }),
    video.task === "generate" &&
      button(
        "openBoard",
        () =>
          attempt(async () => {
            const { board } = await call("GET", `v1/longtake/videos/${video.id}/storyboard`);
            lay(board, { words: video.prompt, notes: video.notes, source: video.id });
            fill({ prompt: video.prompt });
            leave();
            page.go("film");
          }),
        { id: "open-board-of" },
      ),
    button("useFrame", () => {
      const canvas = el("canvas", { width: player.videoWidth, height: player.videoHeight });
      canvas.getContext("2d")?.drawImage(player, 0, 0);
      canvas.toBlob((blob) => {
        beginWith(blob);
        leave();
        page.go("film");
        say(t("useFrameDone"));
      }, "image/png");
    }),
    button(
      "checkMarks",
      () =>
        attempt(async () => {
          const file = await (await fetch(await media(video.id, "video"))).blob();
          leave();
          page.go("verify");
          await examine(new File([file], `${video.id}.mp4`, { type: "video/mp4" }));
        }),
      { id: "check-marks" },
    ),
    el(
      "button",
      {
        type: "button",
        class: "quiet bad",
        id: "delete-film",
        onclick: async () => {
          if (!(await confirmed(t("deleteSure"), t("deleteYes")))) return;
          const gone = await attempt(() => call("DELETE", `v1/videos/${video.id}`));
          if (!gone) return;
          takeDown(video.id);
          leave();
          say(t("deleted"));
        },
      },
      t("delete"),
    ),
  );
}

/** @param {string} id */
async function download(id) {
  el("a", { href: await media(id, "video"), download: `${id}.mp4` }).click();
}

/**
 * What can be made of the film: each a form of its own.
 * @param {Video} video
 * @param {() => void} leave
 */
function actions(video, leave) {
  const prompt = (/** @type {boolean} */ needed) =>
    el("textarea", {
      name: "prompt",
      rows: 2,
      maxlength: 2000,
      required: needed,
      placeholder: needed ? "" : t("optional"),
      "aria-label": t("prompt"),
    });
  const strength = () =>
    field(
      t("strength"),
      el("input", { name: "strength", type: "range", min: 0.1, max: 1, step: 0.05, ".value": "0.6" }),
    );
  const others = hanging().filter((one) => one.id !== video.id);
  const self = { video: { id: video.id } };
  const form = (
    /** @type {string} */ name,
    /** @type {string} */ path,
    /** @type {object} */ more,
    /** @type {any[]} */ ...controls
  ) =>
    el(
      "details",
      { class: "make", name: "make", id: `make-${name}` },
      el("summary", {}, t(name), el("span", { class: "soft" }, t(`${name}Lead`))),
      el(
        "form",
        {
          onsubmit: (/** @type {SubmitEvent} */ event) => {
            event.preventDefault();
            make(path, { ...more, ...values(/** @type {HTMLFormElement} */ (event.target)) }, leave);
          },
        },
        ...controls,
        el("button", { class: "main" }, t("go")),
      ),
    );
  return [
    form("remix", `v1/videos/${video.id}/remix`, {}, prompt(true), strength()),
    form(
      "extend",
      "v1/videos/extensions",
      self,
      prompt(true),
      field(
        t("length"),
        el("input", { name: "seconds", type: "number", min: 1, max: 59, step: 1, ".value": "4" }),
      ),
      field(
        t("extend"),
        select(
          [
            ["false", t("forward")],
            ["true", t("backward")],
          ],
          "false",
          { name: "backward" },
        ),
      ),
    ),
    form("edit", "v1/videos/edits", self, prompt(true), strength()),
    form("loop", "v1/longtake/loops", self, prompt(false)),
    others.length > 0 &&
      form(
        "blend",
        "v1/longtake/blends",
        self,
        field(
          t("blendWith"),
          select(
            others.map((one) => [
              one.id,
              `${one.prompt || t("wordless")} (${clock(Number(one.seconds))})`.slice(0, 80),
            ]),
            others[0].id,
            { name: "video_b" },
          ),
        ),
        prompt(false),
      ),
  ];
}

/** How the fields that are no text are sent. @type {Record<string, (value: string) => any>} */
const READ = {
  strength: Number,
  seconds: Number,
  backward: (value) => value === "true",
  video_b: (id) => ({ id }),
};

/** @param {HTMLFormElement} form @returns {Record<string, any>} what is filled in */
function values(form) {
  const filled = /** @type {[string, string][]} */ ([...new FormData(form)]).filter(
    ([, value]) => value !== "",
  );
  return Object.fromEntries(filled.map(([name, value]) => [name, READ[name]?.(value) ?? value]));
}

/**
 * @param {string} path
 * @param {object} body
 * @param {() => void} leave
 */
async function make(path, body, leave) {
  const made = await attempt(() => call("POST", path, body));
  if (!made) return;
  leave();
  page.sent(made);
}

/**
 * The shots of the film below it: each plays from its beginning, and can be made again.
 * @param {Video} video
 * @param {HTMLVideoElement} player
 * @param {HTMLElement} place
 * @param {() => void} leave
 */
async function strip(video, player, place, leave) {
  /** @type {Board} */
  let board;
  try {
    ({ board } = await call("GET", `v1/longtake/videos/${video.id}/storyboard`));
  } catch {
    return; // an older film that did not keep it
  }
  let from = 0;
  const items = board.shots.map((shot, index) => {
    const start = from;
    from += shot.duration;
    const item = el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          class: "shot-seek",
          title: shot.action,
          onclick: () => {
            player.currentTime = start + 0.02;
            player.play();
          },
        },
        el("b", {}, String(index + 1)),
        " ",
        el("span", {}, shot.action),
      ),
      iconButton(
        "again",
        t("shotAgainHint"),
        () =>
          attempt(async () => {
            const made = await call("POST", `v1/longtake/videos/${video.id}/remake`, { shot: shot.id });
            leave();
            page.sent(made);
          }),
        { disabled: shot.locked, class: "icon-button again", "data-again": shot.id },
      ),
    );
    item.style.flexGrow = String(shot.duration);
    return item;
  });
  place.append(el("ol", { "aria-label": t("shotsOf") }, ...items));
  player.addEventListener("timeupdate", () => {
    let end = 0;
    board.shots.forEach((shot, index) => {
      const start = end;
      end += shot.duration;
      items[index].classList.toggle("now", player.currentTime >= start && player.currentTime < end);
    });
  });
}
