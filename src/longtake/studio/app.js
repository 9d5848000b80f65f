/** The studio: puts its parts on the page and tells each of them what happens in the others. */
import { Refusal, call, key } from "./api.js";
import { draft, lay, madeInto } from "./board.js";
import { complain, recipe, script, send, startCompose } from "./compose.js";
import { startDesk } from "./desk.js";
import { byId } from "./dom.js";
import { hang, startGallery } from "./gallery.js";
import { applyLanguage, switchLanguage, t } from "./i18n.js";
import { askForKey, attempt, say } from "./notice.js";
import { play, startPlayer } from "./player.js";
import { added, startQueue } from "./queue.js";
import { startVerify } from "./verify.js";

const VIEWS = ["film", "queue", "gallery", "verify"];

/** @param {string} view one of the parts */
function go(view) {
  if (location.hash !== `#${view}`) location.hash = view;
  if (document.body.dataset.view !== view) scrollTo({ top: 0, behavior: "instant" });
  document.body.dataset.view = view;
  for (const link of document.querySelectorAll("[data-go]")) {
    const isHere = link.getAttribute("data-go") === view;
    isHere ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
}

const here = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "film");

/** @param {import("./api.js").Video} video that was sent off */
function sent(video) {
  const isShown = byId("queue").checkVisibility();
  say(t("queued"), isShown ? {} : { act: [t("see"), () => go("queue")] });
  added(video);
}

/** @param {import("./api.js").Video} video that is done */
function finished(video) {
  hang(video);
  if (
    video.remixed_from_video_id &&
    video.remixed_from_video_id === draft.source &&
    video.task === "generate"
  )
    madeInto(video.id);
  say(t("jobDone", { prompt: video.prompt || t("wordless") }), { act: [t("watch"), () => play(video)] });
}

/** Do what the form asks; a refusal goes to the field that it names. @param {() => Promise<void>} work */
async function asked(work) {
  try {
    await work();
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    if (!(error instanceof Refusal && complain(error.param, message))) say(message, { bad: true });
  }
}

/** Have the director write a board. */
const direct = () =>
  asked(async () => {
    say(t("working"));
    const answer = await call("POST", "v1/longtake/storyboards", script());
    lay(answer.board, { words: script().prompt, notes: answer.notes });
    byId("board").scrollIntoView({ block: "start" });
  });

/** Film the words as they stand. */
const film = () => asked(async () => sent(await send({ ...recipe(), ...script() })));

async function start() {
  const keyButton = byId("key");
  let isDeclined = false;
  key.ask = async () => {
    keyButton.hidden = false;
    if (isDeclined) return false; // no second question before the button is pressed
    isDeclined = !(await askForKey(key.value !== ""));
    return !isDeclined;
  };
  keyButton.hidden = !key.value;
  keyButton.addEventListener("click", async () => {
    isDeclined = !(await askForKey());
  });
  byId("language").addEventListener("click", switchLanguage);
  document.addEventListener("language", () => {
    byId("language").textContent = t("language");
  });
  addEventListener("hashchange", () => go(here()));
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  applyLanguage();
  go(here());
  startPlayer({ sent, go });
  startVerify();
  startDesk(sent);
  await attempt(() => startCompose({ board: direct, film }));
  await Promise.all([startQueue(finished), startGallery(play)]);
  document.body.dataset.ready = "";
}

start();
