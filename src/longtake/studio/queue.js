/** What is being made: every job with its progress, its preview and its place, live. */
import { call, watch } from "./api.js";
import { byId, el, iconButton, replace } from "./dom.js";
import { moved, sortable } from "./drag.js";
import { named, t } from "./i18n.js";
import { attempt } from "./notice.js";

/** @typedef {import("./api.js").Video} Video */

const BUSY = 2000,
  IDLE = 15000;
/** Browsers open six connections to a server; progress takes at most so many of them. */
const MOST_STREAMS = 3;
const OPEN = ["queued", "in_progress"];

/** @type {Video[]} */
let jobs = [];
/** @type {Map<string, string>} newest preview of a job */
const previews = new Map();
/** @type {Map<string, AbortController>} */
const streams = new Map();
/** @type {Set<string>} jobs seen open, whose end is news */
const pending = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** @type {(video: Video) => void} */
let finished;
let isDragging = false;

/** @param {typeof finished} given told of every film that is done */
export function startQueue(given) {
  finished = given;
  const list = byId("queue");
  sortable(list, { items: ".job.waiting", handle: ".handle", moved: move });
  list.addEventListener("pointerdown", () => {
    isDragging = true;
  });
  document.addEventListener("pointerup", () => {
    isDragging = false;
  });
  document.addEventListener("language", render);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });
  document.addEventListener("key", () => refresh());
  return refresh();
}

/** Ask for the whole queue now, and again after a while. */
export async function refresh() {
  clearTimeout(timer);
  try {
    const query = ["queued", "in_progress", "failed"].map((status) => `status=${status}`).join("&");
    const answer = await call("GET", `v1/longtake/videos?limit=100&${query}`);
    await take(answer.data);
  } catch {
    // The next look will tell; what a user asked for is answered where it was asked.
  }
  clearTimeout(timer);
  timer = setTimeout(
    refresh,
    document.hidden ? 4 * IDLE : jobs.some((job) => OPEN.includes(job.status)) ? BUSY : IDLE,
  );
}

/** @param {Video} video that was sent off just now */
export function added(video) {
  pending.add(video.id);
  return refresh();
}

/** @param {Video[]} found */
async function take(found) {
  const rank = (/** @type {Video} */ job) =>
    job.status === "in_progress" ? -1 : job.status === "queued" ? (job.ahead ?? 0) : 1e6;
  jobs = found.sort((a, b) => rank(a) - rank(b) || b.created_at - a.created_at);
  const open = new Set(jobs.filter((job) => OPEN.includes(job.status)).map((job) => job.id));
  for (const id of open) pending.add(id);
  const gone = [...pending].filter((id) => !open.has(id));
  for (const id of gone) {
    pending.delete(id);
    previews.delete(id);
    if (!jobs.some((job) => job.id === id)) await end(id);
  }
  for (const [id, stream] of streams) if (!open.has(id)) stream.abort();
  for (const job of jobs.filter((one) => open.has(one.id))) follow(job.id);
  if (!isDragging) render();
}

/** @param {string} id of a job that is no longer open: done, or deleted elsewhere */
async function end(id) {
  try {
    const video = await call("GET", `v1/longtake/videos/${id}`);
    if (video.status === "completed") finished(video);
  } catch {
    // Deleted elsewhere: nothing to show.
  }
}

/** @param {string} id */
function follow(id) {
  if (streams.has(id) || streams.size >= MOST_STREAMS) return;
  const stream = new AbortController();
  streams.set(id, stream);
  watch(id, (event, data) => hear(id, event, data), stream.signal)
    .catch(() => {}) // the next look opens it again
    .finally(() => {
      streams.delete(id);
      refresh();
    });
}

/**
 * @param {string} id
 * @param {string} event
 * @param {any} data
 */
function hear(id, event, data) {
  const at = jobs.findIndex((job) => job.id === id);
  if (at < 0) return;
  const before = jobs[at].status;
  if (event === "preview") previews.set(id, data.image);
  else if (event !== "deleted") jobs[at] = { ...jobs[at], ...data };
  if (jobs[at].status !== before) refresh();
  const place = document.getElementById(`job-${id}`);
  if (place && (event === "preview" || event === "progress")) update(place, jobs[at]);
}

function render() {
  const open = jobs.filter((job) => OPEN.includes(job.status)).length;
  const count = byId("queue-count");
  count.textContent = String(open);
  count.hidden = open === 0;
  byId("queue-empty").hidden = jobs.length > 0;
  replace(byId("queue"), ...jobs.map(item));
}

/** @param {Video} job */
function item(job) {
  const words = job.prompt || t("wordless");
  const waiting = job.status === "queued";
  const failed = job.status === "failed";
  const place = el(
    "li",
    { id: `job-${job.id}`, class: `job ${waiting ? "waiting" : job.status}` },
    el("div", { class: "job-picture" }, el("img", { alt: "", hidden: true })),
    el(
      "div",
      { class: "job-words" },
      el("p", { class: "job-prompt", title: words }, words),
      el(
        "p",
        { class: "soft" },
        `${job.model === "animatic" ? t("animatic") : t(`task.${job.task}`)} · ${job.seconds} ${t("s")} · ${job.size.replace("x", "\u00a0×\u00a0")}`,
      ),
      failed
        ? el(
            "p",
            { class: "problem" },
            el("b", {}, t(job.error?.code === "cancelled" ? "jobCancelled" : "jobFailed")),
            job.error?.code === "cancelled" ? "" : ` ${job.error?.message}`,
          )
        : el(
            "div",
            { class: "job-progress" },
            el("progress", { max: 100, "aria-label": t("jobProgress", { prompt: words }) }),
            el("span", { class: "soft stage" }),
          ),
    ),
    el(
      "div",
      { class: "job-tools" },
      waiting &&
        iconButton("grip", t("jobMove"), () => {}, {
          class: "icon-button handle",
          "data-key": `move-${job.id}`,
        }),
      iconButton(
        "close",
        t(failed ? "jobDismiss" : "jobCancel"),
        () => (failed ? dismiss(job) : cancel(job)),
        { "data-key": `end-${job.id}` },
      ),
    ),
  );
  update(place, job);
  return place;
}

/**
 * @param {HTMLElement} place
 * @param {Video} job
 */
function update(place, job) {
  const bar = place.querySelector("progress");
  if (bar) bar.value = job.progress;
  const stage = place.querySelector(".stage");
  if (stage)
    stage.textContent =
      job.status === "queued"
        ? ahead(job.ahead ?? 0)
        : `${job.progress} % · ${named("stage", job.stage)}${job.message ? ` · ${job.message}` : ""}`;
  const image = place.querySelector("img");
  const preview = previews.get(job.id);
  if (image && preview && image.src !== preview) {
    image.src = preview;
    image.hidden = false;
  }
}

const ahead = (/** @type {number} */ n) =>
  n === 0 ? t("aheadNone") : n === 1 ? t("aheadOne") : t("ahead", { n });

/** @param {Video} job */
async function cancel(job) {
  await attempt(() => call("POST", `v1/longtake/videos/${job.id}/cancel`));
  await refresh();
}

/** @param {Video} job */
async function dismiss(job) {
  await attempt(() => call("DELETE", `v1/videos/${job.id}`));
  await refresh();
}

/**
 * @param {number} from
 * @param {number} to among the jobs that wait
 */
async function move(from, to) {
  const waiting = jobs.filter((job) => job.status === "queued");
  const order = moved(waiting, from, to);
  const before = order[to + 1]?.id ?? null;
  jobs = [
    ...jobs.filter((job) => job.status === "in_progress"),
    ...order,
    ...jobs.filter((job) => job.status === "failed"),
  ];
  render();
  await attempt(() => call("POST", `v1/longtake/videos/${waiting[from].id}/move`, { before }));
  await refresh();
}
