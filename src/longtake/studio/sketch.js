/** The picture of a shot as a director would draw it: sky and ground of its place, its people as near as the scale says, and
 * an arrow for the camera. */
import { svg } from "./dom.js";

/** @typedef {import("./api.js").Board} Board */
/** @typedef {import("./api.js").Shot} Shot */

const HEIGHT = 90;
/** Height of a person over the height of the frame. @type {Record<string, number>} */
const TALL = {
  extreme_wide: 0.13,
  wide: 0.3,
  full: 0.72,
  medium_wide: 1.0,
  medium: 1.35,
  medium_close_up: 1.9,
  close_up: 2.7,
  extreme_close_up: 4.4,
  insert: 3.4,
};
const COLOURS = ["#d7653b", "#3f7f8c", "#c79a2e", "#7a5ea8", "#5b8a4c", "#b0557a"];
/** Top and bottom of the sky, ground, by what the place and its time are called. */
const LIGHTS = /** @type {[RegExp, [string, string, string]][]} */ ([
  [/night|midnight|moon|夜|深夜|月/i, ["#101a33", "#2b3a5e", "#1a2238"]],
  [/dusk|sunset|evening|twilight|黄昏|日落|傍晚|夕/i, ["#4a3560", "#e08a4e", "#4f3a35"]],
  [/dawn|sunrise|morning|清晨|早晨|日出|黎明/i, ["#8fa8c4", "#f3c79a", "#8a7a60"]],
  [/room|kitchen|indoor|inside|house|office|caf|客厅|室内|房间|厨房|屋/i, ["#b98f5e", "#d9b98a", "#7a5738"]],
  [/snow|ice|winter|雪|冰|冬/i, ["#9fb6c9", "#dfe8ee", "#f1f4f6"]],
  [/beach|sea|ocean|water|lake|海|湖|沙滩/i, ["#6fb0cf", "#cfe6ea", "#d9c48e"]],
  [
    /forest|wood|jungle|park|meadow|grass|field|garden|森林|树林|公园|草|田|花园/i,
    ["#8fc0d6", "#dcebd6", "#5f8a4d"],
  ],
  [/street|city|town|road|neon|街|城|路/i, ["#7f93a8", "#c3ccd2", "#585c63"]],
  [/desert|sand|沙漠/i, ["#8cc0de", "#f0dcae", "#d4a65a"]],
]);
const PLAIN = /** @type {[string, string, string]} */ (["#9db8c9", "#e4e6df", "#8f8a73"]);
let numbered = 0;

/**
 * The shot as one picture.
 * @param {Board} board
 * @param {Shot} shot
 * @returns {SVGElement}
 */
export function sketch(board, shot) {
  const { width, sky, scene } = drawn(board, shot);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      class: "sketch",
      "aria-hidden": "true",
      preserveAspectRatio: "xMidYMid slice",
    },
    svg("defs", {}, sky),
    scene,
    ...arrow(shot.camera.move, width),
  );
}

/**
 * The shot as a piece of film: its picture again and again, for as long as it lasts.
 * @param {Board} board
 * @param {Shot} shot
 * @param {number} tall height on the page
 * @returns {SVGElement}
 */
export function footage(board, shot, tall) {
  const { width, sky, scene, id } = drawn(board, shot);
  const share = tall / HEIGHT;
  const pattern = svg(
    "pattern",
    { id: `film-${id}`, patternUnits: "userSpaceOnUse", width: (width + 2) * share, height: tall },
    svg("svg", { width: width * share, height: tall, viewBox: `0 0 ${width} ${HEIGHT}` }, scene),
  );
  return svg(
    "svg",
    { class: "sketch", "aria-hidden": "true" },
    svg("defs", {}, sky, pattern),
    svg("rect", { width: "100%", height: "100%", fill: `url(#film-${id})` }),
  );
}

/**
 * @param {Board} board
 * @param {Shot} shot
 */
function drawn(board, shot) {
  const [w, h] = board.size.split("x").map(Number);
  const width = Math.round(HEIGHT * Math.min(2.4, Math.max(0.5, w / h || 16 / 9)));
  const place = board.locations.find((one) => one.id === shot.location);
  const [top, low, ground] = light(
    place ? `${place.time} ${place.weather} ${place.description}` : shot.action,
  );
  const id = String(++numbered);
  const horizon = shot.angle === "overhead" ? 0 : ({ low: 0.86, high: 0.4 }[shot.angle] ?? 0.62);
  const tilt = shot.angle === "dutch" ? `rotate(-9 ${width / 2} ${HEIGHT / 2}) scale(1.12)` : "";
  const scene = svg(
    "g",
    tilt ? { transform: tilt } : {},
    svg("rect", { x: -20, y: -20, width: width + 40, height: HEIGHT + 40, fill: `url(#sky-${id})` }),
    svg("rect", { x: -20, y: HEIGHT * horizon, width: width + 40, height: HEIGHT + 40, fill: ground }),
    ...weather(place?.weather ?? "", width),
    ...people(board, shot, width, horizon),
  );
  const sky = svg(
    "linearGradient",
    { id: `sky-${id}`, x1: 0, y1: 0, x2: 0, y2: 1 },
    svg("stop", { offset: 0, "stop-color": top }),
    svg("stop", { offset: 0.75, "stop-color": low }),
  );
  return { width, sky, scene, id };
}

/**
 * @param {string} words
 * @returns {[string, string, string]}
 */
function light(words) {
  const first = LIGHTS.find(([known]) => known.test(words))?.[1] ?? PLAIN;
  const isSnowy = /snow|雪/i.test(words);
  return isSnowy && first !== PLAIN
    ? [first[0], first[1], /night|夜/i.test(words) ? "#7f8fb0" : "#eef2f5"]
    : first;
}

/**
 * @param {string} kind
 * @param {number} width
 */
function weather(kind, width) {
  const isSnow = /snow|雪/i.test(kind);
  if (!isSnow && !/rain|storm|雨/i.test(kind)) return [];
  return Array.from({ length: 26 }, (_, i) => {
    const x = (i * 37) % width,
      y = (i * 53) % HEIGHT;
    return isSnow
      ? svg("circle", { cx: x, cy: y, r: 1 + (i % 3) * 0.4, fill: "#fff", opacity: 0.85 })
      : svg("path", { d: `M${x} ${y}l-2 7`, stroke: "#dfe8f0", "stroke-width": 0.8, opacity: 0.7 });
  });
}

/**
 * @param {Board} board
 * @param {Shot} shot
 * @param {number} width
 * @param {number} horizon
 */
function people(board, shot, width, horizon) {
  const tall = (TALL[shot.scale] ?? 0.5) * HEIGHT;
  const many = shot.characters.length;
  return shot.characters.slice(0, 6).map((cast, index) => {
    const near = { foreground: 1.35, background: 0.65 }[cast.position] ?? 1;
    const size = tall * near;
    const across = { left: 0.27, right: 0.73, centre: 0.5 }[cast.position] ?? (index + 1) / (many + 1);
    const feet =
      size < HEIGHT * 0.8
        ? HEIGHT * Math.min(0.97, horizon + 0.12 + 0.18 * near * Math.min(1, size / HEIGHT))
        : HEIGHT * 0.14 + size;
    const number = Math.max(
      0,
      board.characters.findIndex((one) => one.id === cast.id),
    );
    const person = board.characters[number];
    const initial =
      [...(person?.name || person?.look.replace(/^(an?|the|一[只个位名条头匹辆]) ?/i, "") || "")][0] ?? "";
    const colour = COLOURS[number % COLOURS.length];
    return figure(
      across * width,
      shot.angle === "overhead" ? HEIGHT * 0.5 + size / 2 : feet,
      size,
      colour,
      cast.facing,
      initial.toUpperCase(),
    );
  });
}

/**
 * A head and a body, standing on (x, feet).
 * @param {number} x
 * @param {number} feet
 * @param {number} tall
 * @param {string} colour
 * @param {string} facing
 * @param {string} initial
 */
function figure(x, feet, tall, colour, facing, initial) {
  const head = tall * 0.13,
    top = feet - tall,
    wide = tall * 0.17;
  const look = { left: -1, right: 1 }[facing];
  const parts = [
    svg("ellipse", { cx: x, cy: feet, rx: wide * 1.2, ry: tall * 0.025, fill: "#000", opacity: 0.22 }),
    svg("path", {
      d: `M${x - wide} ${feet}L${x - wide} ${top + tall * 0.42}Q${x - wide} ${top + tall * 0.27} ${x} ${top + tall * 0.27}Q${x + wide} ${top + tall * 0.27} ${x + wide} ${top + tall * 0.42}L${x + wide} ${feet}Z`,
      fill: colour,
    }),
    svg("circle", {
      cx: x,
      cy: top + head,
      r: head,
      fill: colour,
      stroke: "#fff8",
      "stroke-width": tall * 0.012,
    }),
  ];
  if (look)
    parts.push(
      svg("path", {
        d: `M${x + look * head * 0.9} ${top + head * 0.8}l${look * head * 0.5} ${head * 0.35}l${-look * head * 0.5} ${head * 0.3}z`,
        fill: colour,
      }),
    );
  if (facing === "camera")
    for (const side of [-1, 1])
      parts.push(
        svg("circle", { cx: x + side * head * 0.38, cy: top + head * 0.9, r: head * 0.12, fill: "#fff" }),
      );
  else if (facing !== "away" && tall > 20) {
    parts.push(
      svg(
        "text",
        {
          x,
          y: top + head * 1.36,
          "text-anchor": "middle",
          "font-size": head * 1.05,
          "font-weight": 700,
          fill: "#fffc",
        },
        initial,
      ),
    );
  }
  return svg("g", {}, ...parts);
}

/** Of an arrow to the right at (0, 0). */
const RIGHT = "M-11 0H9M4 -5l6 5l-6 5";
const TURNS = /** @type {Record<string, number>} */ ({ right: 0, down: 90, left: 180, up: 270 });

/**
 * @param {string} move
 * @param {number} width
 */
function arrow(move, width) {
  const [kind, way] = move.split("_");
  const x = width - 18,
    y = HEIGHT - 17;
  const line = {
    fill: "none",
    stroke: "#fff",
    "stroke-width": 2.2,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  };
  /** @type {string[]} */
  let drawn = [];
  let turn = 0;
  if (kind === "static") return [];
  if (way === "in" || way === "out") {
    const inward =
      way === "in" ? "M-9 -7l5 4M9 -7l-5 4M-9 7l5 -4M9 7l-5 -4" : "M-4 -3l-5 -4M4 -3l5 -4M-4 3l-5 4M4 3l5 4";
    drawn = kind === "zoom" ? [inward, "M-2 -2h4v4h-4z"] : [inward];
  } else if (kind === "follow") drawn = ["M-10 0h13M-1 -4l5 4l-5 4", "M9 -5v10"];
  else if (kind === "orbit" || kind === "roll")
    drawn = [way === "left" ? "M8 4A9 6 0 1 0 -8 4M-11 -1l3 5l5 -2" : "M-8 4A9 6 0 1 1 8 4M11 -1l-3 5l-5 -2"];
  else {
    drawn = [
      kind === "pan" || kind === "tilt" ? "M-10 4Q0 -5 9 1M4 -4l6 6l-8 1" : RIGHT,
      ...(kind === "crane" ? ["M-11 -6v12"] : []),
    ];
    turn = TURNS[way] ?? 0;
  }
  const flip = turn === 180 ? "scale(-1 1)" : `rotate(${turn})`;
  return [
    svg("circle", { cx: x, cy: y, r: 14, fill: "#0009" }),
    svg("g", { transform: `translate(${x} ${y}) ${flip}`, ...line }, ...drawn.map((d) => svg("path", { d }))),
  ];
}
