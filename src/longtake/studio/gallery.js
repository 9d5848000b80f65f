/** Finished films as pictures on a wall. */
import { call, forget, media } from "./api.js";
import { byId, el, replace } from "./dom.js";
import { clock, t } from "./i18n.js";
import { attempt } from "./notice.js";

/** @typedef {import("./api.js").Video} Video */

const PAGE = 24;
/** @type {Video[]} */
let films = [];
let hasMore = false;
/** @type {(video: Video) => void} */
let opened;

/** @param {typeof opened} given told of the film that is to be played */
export function startGallery(given) {
  opened = given;
  byId("gallery-more").addEventListener("click", () => load(films.at(-1)?.id));
  document.addEventListener("language", render);
  document.addEventListener("key", () => load());
  return load();
}

/** @param {string} [after] the film from which to go on; none begins anew */
export async function load(after) {
  await attempt(async () => {
    const page = await call(
      "GET",
      `v1/longtake/videos?status=completed&limit=${PAGE}${after ? `&after=${after}` : ""}`,
    );
    films = after ? [...films, ...page.data] : page.data;
    hasMore = page.has_more;
    render();
  });
}

/** @param {Video} video that is done */
export function hang(video) {
  films = [video, ...films.filter((one) => one.id !== video.id)];
  render();
}

/** @param {string} id */
export function takeDown(id) {
  films = films.filter((one) => one.id !== id);
  forget(id);
  render();
}

/** Films that another can be joined with. */
export const hanging = () => films;

function render() {
  byId("gallery-empty").hidden = films.length > 0;
  byId("gallery-more").hidden = !hasMore;
  replace(byId("gallery"), ...films.map(picture));
}

/** @param {Video} video */
function picture(video) {
  const prompt = video.prompt || t("wordless");
  const length = clock(Number(video.seconds));
  const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
  const [width, height] = video.size.split("x").map(Number);
  image.width = width;
  image.height = height;
  media(video.id, "thumbnail").then(
    (url) => {
      image.src = url;
    },
    () => {},
  );
  const badge =
    video.model === "animatic" ? t("animatic") : video.task === "generate" ? "" : t(`task.${video.task}`);
  return el(
    "li",
    {},
    el(
      "button",
      {
        type: "button",
        class: "film",
        "data-key": video.id,
        onclick: () => opened(video),
      },
      el(
        "span",
        { class: "film-picture" },
        image,
        el("span", { class: "badge" }, length),
        badge && el("span", { class: "badge kind" }, badge),
      ),
      " ",
      el("span", { class: "film-words" }, prompt),
    ),
  );
}
