/** The server: requests with the key, refusals in its own words, progress as a stream. Addresses are relative to the page,
 * so that the studio works below any path of a proxy. */
import { t } from "./i18n.js";

const KEY = "longtake.key";

/** What the server refused, in its words. `param` names the field. */
export class Refusal extends Error {
  /**
   * @param {number} status 0 when it was not reached
   * @param {string} message
   * @param {string | null} [param]
   * @param {string | null} [code]
   */
  constructor(status, message, param = null, code = null) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

/** The key for this tab; `ask` is put in by the page and resolves to whether there is another one now. */
export const key = {
  /** @type {() => Promise<boolean>} */
  ask: async () => false,
  get value() {
    return sessionStorage.getItem(KEY) ?? "";
  },
  set value(text) {
    text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY);
  },
};

/** @returns {Record<string, string>} */
const authorization = () => (key.value ? { authorization: `Bearer ${key.value}` } : {});

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<Response>} one that is ok
 */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), {
      ...options,
      headers: { ...options.headers, ...authorization() },
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refusal(0, t("away"));
  }
  if (answer.status === 401 && (await key.ask())) return ask(path, options);
  if (answer.ok) return answer;
  const { error } = await answer
    .json()
    .catch(() => ({ error: { message: t("strange", { status: answer.status }) } }));
  throw new Refusal(answer.status, error.message, error.param, error.code);
}

/**
 * Ask and read the answer. An object goes as JSON, a FormData as a form.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>}
 */
export async function call(method, path, body) {
  const isForm = body instanceof FormData;
  const options = body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) };
  const headers = body === undefined || isForm ? {} : { "content-type": "application/json" };
  return (
    await ask(path, { method, headers: /** @type {Record<string, string>} */ (headers), ...options })
  ).json();
}

/** @type {Map<string, Promise<string>>} */
const blobs = new Map();

/**
 * Where the page finds a file of a film: the server's own address, or, as no header can be sent for a picture or a player,
 * a copy in memory when there is a key.
 * @param {string} id
 * @param {"video" | "thumbnail" | "spritesheet"} variant
 */
export function media(id, variant) {
  const path = `v1/videos/${id}/content?variant=${variant}`;
  if (!key.value) return Promise.resolve(new URL(path, document.baseURI).href);
  const kept = blobs.get(path);
  if (kept) return kept;
  const made = ask(path)
    .then((answer) => answer.blob())
    .then((blob) => URL.createObjectURL(blob));
  made.catch(() => blobs.delete(path));
  blobs.set(path, made);
  return made;
}

/** @param {string} id of a film whose copies are no longer needed */
export function forget(id) {
  for (const [path, made] of blobs) {
    if (path.includes(`/${id}/`)) {
      blobs.delete(path);
      made.then(
        (url) => URL.revokeObjectURL(url),
        () => {},
      );
    }
  }
}

/**
 * Follow a job to its end. EventSource cannot send the key, so the stream is read by hand.
 * @param {string} id
 * @param {(event: string, data: any) => void} hear
 * @param {AbortSignal} signal
 */
export async function watch(id, hear, signal) {
  const answer = await ask(`v1/longtake/videos/${id}/events`, { signal });
  const reader = /** @type {ReadableStream<any>} */ (answer.body)
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const parts = Object.fromEntries(
        block.split("\n").map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]),
      );
      if (parts.event) hear(parts.event, JSON.parse(parts.data));
    }
  }
}

/**
 * The shapes on the wire.
 * @typedef {{id: string, status: "queued" | "in_progress" | "completed" | "failed", progress: number, prompt: string, model: string,
 *   seconds: string, size: string, stage: string, message: string, task: string, ahead: number | null, created_at: number,
 *   completed_at: number | null, remixed_from_video_id: string | null, error: {code: string, message: string} | null,
 *   seed?: number, caption?: string, notes?: string[]}} Video
 * @typedef {{id: string, position: string, facing: string}} Cast
 * @typedef {{id: string, duration: number, location: string | null, characters: Cast[], scale: string, angle: string,
 *   camera: {move: string, speed: string, support: string}, action: string, narration: string,
 *   dialogue: {character: string, text: string}[], sound: string, transition: {type: string, duration: number},
 *   continue_from: string | null, seed: number | null, locked: boolean}} Shot
 * @typedef {{id: string, name: string, look: string, wardrobe: string, voice: string, references: string[]}} Character
 * @typedef {{id: string, description: string, time: string, weather: string}} Place
 * @typedef {{version: 1, title: string, language: string, size: string, fps: number, seed: number,
 *   style: {look: string, palette: string[], negative: string}, characters: Character[], locations: Place[], shots: Shot[]}} Board
 */
