// A picture of a chart. Its shapes are drawn one by one: an image made from the drawing's text would be a load that the
// server's policy forbids.

import { fitted } from "./flow.ts";

const SCALE = 2;
const MARGIN = 16;
const TITLE = 20;
const LINE = 18;
const SWATCH = 10;
/** Between a swatch and its name, and between a key and the next. */
const [NEAR, FAR] = [6, 18];
/** Between two lines of a hatch. */
const HATCH = 8;

/** What a colour or a mark of the chart stands for. */
export interface Key {
  kind: "fill" | "hatch" | "ring";
  colour: string;
  name: string;
  total?: string;
  /** Where in the drawing it stands beside its layer, by the middle of its line; above the drawing if nowhere. */
  at?: { x: number; y: number; width: number } | undefined;
}

/** What stands above the chart. */
export interface Head {
  title: string;
  period: string;
  keys?: readonly Key[];
}

/** Colours and letters of the page. */
export interface Look {
  font: string;
  text: string;
  soft: string;
  surface: string;
}

type Pen = CanvasRenderingContext2D;
interface Placed extends Key {
  x: number;
  line: number;
  text: string;
}

/** Returns the keys in lines of so much room; a name that needs more is cut, its total is not. */
export function placed(keys: readonly Key[], width: number, measure: (text: string) => number): Placed[] {
  let [x, line] = [0, 0];
  return keys.map((key) => {
    const total = key.total === undefined ? "" : `  ${key.total}`;
    const text = `${fitted(key.name, width - SWATCH - NEAR - measure(total), measure)}${total}`;
    const needed = SWATCH + NEAR + measure(text);
    if (x > 0 && x + needed > width) [x, line] = [0, line + 1];
    const found = { ...key, x, line, text };
    x += needed + FAR;
    return found;
  });
}

/** Draws title, period and keys, and returns how high they are. Without a pen they are only measured. */
export function drawHead(pen: Pen, { title, period, keys = [] }: Head, width: number, look: Look, isDrawn = true): number {
  pen.font = `12px ${look.font}`;
  const found = placed(keys.filter(({ at }) => at === undefined), width, (text) => pen.measureText(text).width);
  const height = TITLE + LINE + (found.length === 0 ? 0 : ((found.at(-1)?.line ?? 0) + 1) * LINE) + NEAR;
  if (!isDrawn) return height;
  pen.fillStyle = look.soft;
  pen.fillText(period, 0, TITLE + 12);
  for (const key of found) {
    const top = TITLE + LINE + key.line * LINE + (LINE - SWATCH) / 2;
    swatch(pen, key, top, look);
    pen.fillStyle = look.text;
    pen.fillText(key.text, key.x + SWATCH + NEAR, top + SWATCH - 1);
  }
  pen.font = `600 14px ${look.font}`;
  pen.fillText(title, 0, 12);
  return height;
}

/** Draws the keys that stand beside their layers: the name, cut where there is no room for it, and at the right the total. */
export function drawLabels(pen: Pen, keys: readonly Key[], look: Look): void {
  for (const { at, total = "", ...key } of keys) {
    if (at === undefined) continue;
    pen.font = `12px ${look.font}`;
    const measure = (text: string) => pen.measureText(text).width;
    const left = at.x + SWATCH + NEAR;
    swatch(pen, { ...key, x: at.x }, at.y - SWATCH / 2, look);
    pen.fillStyle = look.text;
    pen.fillText(fitted(key.name, at.x + at.width - left - NEAR - measure(total), measure), left, at.y + 4);
    pen.fillStyle = look.soft;
    pen.fillText(total, at.x + at.width - measure(total), at.y + 4);
  }
}

function swatch(pen: Pen, { kind, colour, x }: Key & { x: number }, y: number, look: Look): void {
  if (kind === "hatch") hatch(pen, { x, y, width: SWATCH, height: SWATCH }, colour, look.surface);
  else if (kind === "fill") {
    pen.fillStyle = colour;
    pen.fillRect(x, y, SWATCH, SWATCH);
  } else {
    pen.beginPath();
    pen.arc(x + SWATCH / 2, y + SWATCH / 2, SWATCH / 2 - 1, 0, 2 * Math.PI);
    [pen.strokeStyle, pen.lineWidth] = [colour, 2];
    pen.stroke();
  }
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Draws diagonals over the box, each in a band of the surface's colour, as the pattern of the chart has them. */
export function hatch(pen: Pen, { x, y, width, height }: Box, ink: string, surface: string): void {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  for (const [colour, thick] of [[surface, HATCH / 2], [ink, 1.5]] as const) {
    [pen.strokeStyle, pen.lineWidth] = [colour, thick];
    pen.beginPath();
    for (let at = x - height; at < x + width; at += HATCH * Math.SQRT2) {
      pen.moveTo(at + height, y);
      pen.lineTo(at, y + height);
    }
    pen.stroke();
  }
  pen.restore();
}

/** Returns the chart as PNG, with its title, its days and what its colours mean above. */
export async function picture(svg: SVGSVGElement, head: Head): Promise<Blob> {
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("this browser draws no pictures");
  const panel = getComputedStyle(svg.closest(".panel") ?? document.body);
  const label = svg.querySelector("text");
  const soft = label ? getComputedStyle(label).fill : panel.color;
  const look = { font: getComputedStyle(svg).fontFamily, text: panel.color, soft, surface: panel.backgroundColor };
  const above = drawHead(pen, head, width, look, false);
  canvas.width = (width + 2 * MARGIN) * SCALE;
  canvas.height = (above + height + 2 * MARGIN) * SCALE;
  pen.scale(SCALE, SCALE);
  pen.fillStyle = look.surface;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.translate(MARGIN, MARGIN);
  drawHead(pen, head, width, look);
  pen.translate(0, above);
  const own = svg.getScreenCTM();
  const ink = svg.querySelector("pattern .ink");
  for (const shape of svg.querySelectorAll<SVGGraphicsElement>(":is(rect, line, path, text, circle):not(defs *)")) {
    draw(pen, shape, own, (box) => hatch(pen, box, ink ? getComputedStyle(ink).stroke : look.text, look.surface));
  }
  drawLabels(pen, head.keys ?? [], look);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is empty"))), "image/png"));
}

function draw(pen: Pen, shape: SVGGraphicsElement, own: DOMMatrix | null, hatched: (box: Box) => void): void {
  const style = getComputedStyle(shape);
  const place = shape.getScreenCTM();
  if (!place || !own || style.visibility === "hidden") return;
  const number = (name: string) => Number(shape.getAttribute(name) ?? "0");
  pen.save();
  const at = own.inverse().multiply(place);
  pen.transform(at.a, at.b, at.c, at.d, at.e, at.f);
  pen.globalAlpha = Number(style.opacity) * Number(style.fillOpacity || "1");
  if (shape.tagName === "text") {
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    pen.textAlign = style.textAnchor === "end" ? "right" : style.textAnchor === "middle" ? "center" : "left";
    pen.fillStyle = style.fill;
    pen.fillText(shape.textContent ?? "", number("x"), number("y"));
  } else {
    const path = pathOf(shape, number);
    if (style.fill.startsWith("url(")) {
      hatched({ x: number("x"), y: number("y"), width: number("width"), height: number("height") });
    } else if (style.fill !== "none" && shape.tagName !== "line") {
      pen.fillStyle = style.fill;
      pen.fill(path);
    }
    if (style.stroke !== "none") {
      pen.globalAlpha = Number(style.opacity) * Number(style.strokeOpacity || "1");
      pen.strokeStyle = style.stroke;
      pen.lineWidth = Number.parseFloat(style.strokeWidth);
      pen.stroke(path);
    }
  }
  pen.restore();
}

function pathOf(shape: SVGGraphicsElement, number: (name: string) => number): Path2D {
  const path = new Path2D(shape.tagName === "path" ? (shape.getAttribute("d") ?? "") : undefined);
  if (shape.tagName === "rect") path.rect(number("x"), number("y"), number("width"), number("height"));
  if (shape.tagName === "circle") path.arc(number("cx"), number("cy"), number("r"), 0, 2 * Math.PI);
  if (shape.tagName === "line") {
    path.moveTo(number("x1"), number("y1"));
    path.lineTo(number("x2"), number("y2"));
  }
  return path;
}
