// A picture of a chart. Its shapes are drawn one by one: an image made from the drawing's text would be a load that the
// server's policy forbids.

const SCALE = 2;
const MARGIN = 16;
const HEAD = 28;

/** Returns the chart as PNG, with its title above. */
export async function picture(svg: SVGSVGElement, title: string): Promise<Blob> {
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const canvas = document.createElement("canvas");
  canvas.width = (width + 2 * MARGIN) * SCALE;
  canvas.height = (height + 2 * MARGIN + HEAD) * SCALE;
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("this browser draws no pictures");
  const root = getComputedStyle(svg);
  const panel = getComputedStyle(svg.closest(".panel") ?? document.body);
  pen.scale(SCALE, SCALE);
  pen.fillStyle = panel.backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = panel.color;
  pen.font = `600 14px ${root.fontFamily}`;
  pen.fillText(title, MARGIN, MARGIN + 12);
  pen.translate(MARGIN, MARGIN + HEAD);
  const own = svg.getScreenCTM();
  for (const shape of svg.querySelectorAll<SVGGraphicsElement>("rect, line, path, text, circle")) draw(pen, shape, own);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is empty"))), "image/png"));
}

function draw(pen: CanvasRenderingContext2D, shape: SVGGraphicsElement, own: DOMMatrix | null): void {
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
    if (style.fill !== "none" && !style.fill.startsWith("url(") && shape.tagName !== "line") {
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
