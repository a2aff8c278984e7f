"use strict";
// Maps of embeddings: points on a canvas, with a legend that selects languages.
const POLYGONS = {
  1: [4, 45, 0.9], 2: [3, -90, 1.1], 3: [4, 0, 1], 4: [3, 90, 1.1], 6: [3, 180, 1.1], 7: [3, 0, 1.1], 8: [5, -90, 1],
};
const PLUS = [[1, -0.35], [1, 0.35], [0.35, 0.35], [0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35], [-0.35, -1], [0.35, -1], [0.35, -0.35]];
function shape(marker) {
  const path = new Path2D(), corners = [];
  const corner = (angle, radius) => corners.push([radius * Math.cos(angle * Math.PI / 180), radius * Math.sin(angle * Math.PI / 180)]);
  if (marker === 0) path.arc(0, 0, 0.85, 0, 2 * Math.PI);
  else if (marker === 5) corners.push(...PLUS);
  else if (marker === 9) for (let n = 0; n < 10; n++) corner(-90 + 36 * n, n % 2 ? 0.45 : 1.15);
  else { const [count, first, radius] = POLYGONS[marker]; for (let n = 0; n < count; n++) corner(first + 360 * n / count, radius); }
  corners.forEach(([x, y], n) => n ? path.lineTo(x, y) : path.moveTo(x, y));
  path.closePath();
  return path;
}
const SHAPES = Array.from({length: 10}, (_, marker) => shape(marker));
const dark = matchMedia("(prefers-color-scheme: dark)");

function drawMap(box) {
  const data = JSON.parse(box.querySelector("script").textContent), canvas = box.querySelector("canvas.points");
  const pen = canvas.getContext("2d"), count = data.x.length, chosen = new Set();
  const radius = Math.max(2.5, Math.min(6, 160 / Math.sqrt(count)));
  const [left, right, low, high] = [data.x, data.y].flatMap(v => [v.reduce((a, b) => Math.min(a, b)), v.reduce((a, b) => Math.max(a, b))]);
  const means = data.languages.map(() => [0, 0]);
  for (let n = 0; n < count; n++) { means[data.language[n]][0] += data.x[n]; means[data.language[n]][1] += data.y[n]; }
  data.languages.forEach((language, n) => { means[n] = means[n].map(sum => sum / language.count); });
  const spread = data.languages.map(() => 0); // mean distance from the mean
  for (let n = 0; n < count; n++) {
    const own = data.language[n];
    spread[own] += Math.hypot(data.x[n] - means[own][0], data.y[n] - means[own][1]) / data.languages[own].count;
  }
  let zoom = 1, middle = [(left + right) / 2, (low + high) / 2];
  const withNames = box.querySelector("input.names"), colour = language => language.colours[dark.matches ? 1 : 0];
  const scale = () => zoom * 0.9 * Math.min(canvas.clientWidth / (right - left || 1), canvas.clientHeight / (high - low || 1));
  const place = (x, y) => [canvas.clientWidth / 2 + (x - middle[0]) * scale(), canvas.clientHeight / 2 - (y - middle[1]) * scale()];

  function draw() {
    const ratio = devicePixelRatio || 1, [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const style = getComputedStyle(document.documentElement), tone = name => style.getPropertyValue(name).trim();
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.touchAction = zoom > 1 ? "none" : "pan-y";
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const mark = (n, fill, alpha) => {
      const [x, y] = place(data.x[n], data.y[n]);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) return;
      pen.setTransform(ratio * radius, 0, 0, ratio * radius, ratio * x, ratio * y);
      pen.globalAlpha = alpha; pen.fillStyle = fill;
      pen.fill(SHAPES[data.languages[data.language[n]].marker]);
      if (data.wrong[n] && alpha > 0.5) {
        pen.globalAlpha = 1; pen.lineWidth = 0.3; pen.strokeStyle = tone("--ink");
        pen.stroke(SHAPES[data.languages[data.language[n]].marker]);
      }
    };
    const shown = n => !chosen.size || chosen.has(data.language[n]);
    if (chosen.size) for (let n = 0; n < count; n++) if (!shown(n)) mark(n, tone("--muted"), 0.15);
    for (let n = 0; n < count; n++) if (shown(n)) mark(n, colour(data.languages[data.language[n]]), 0.8);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0); pen.globalAlpha = 1;
    if (withNames.checked) write(width, height, tone("--ink"), tone("--paper"));
  }
  // A name that would lie on another one is left out; it appears when one zooms in.
  function write(width, height, ink, paper) {
    const taken = [], air = width < 500 ? 8 : 0; // fewer names where there is little room
    pen.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    pen.textAlign = "center"; pen.textBaseline = "middle"; pen.lineJoin = "round"; pen.lineWidth = 3;
    const order = [...data.languages.keys()].sort((a, b) => data.languages[b].count - data.languages[a].count);
    for (const n of order) {
      if (chosen.size && !chosen.has(n)) continue;
      const [x, y] = place(...means[n]), half = pen.measureText(data.languages[n].short).width / 2 + 3;
      const away = Math.min(48, 1.6 * spread[n] * scale()) + 12;
      for (const [dx, dy] of [[0, -1], [0, 1], [-1, 0], [1, 0], [0, -1.5], [0, 1.5], [0, -2.5], [0, 2.5]]) {
        const [cx, cy] = [x + dx * (half + away), y + dy * away];
        const [l, r, t, b] = [cx - half - air, cx + half + air, cy - 8 - air, cy + 8 + air];
        if (l < 0 || r > width || t < 0 || b > height || taken.some(o => l < o[1] && o[0] < r && t < o[3] && o[2] < b)) continue;
        taken.push([l, r, t, b]);
        pen.strokeStyle = paper; pen.strokeText(data.languages[n].short, cx, cy);
        pen.fillStyle = ink; pen.fillText(data.languages[n].short, cx, cy);
        break;
      }
    }
  }
  function zoomAt(factor, x, y) {
    const before = scale();
    zoom = factor ? Math.min(60, Math.max(1, zoom * factor)) : 1;
    const dx = x - canvas.clientWidth / 2, dy = y - canvas.clientHeight / 2, change = 1 / before - 1 / scale();
    if (zoom === 1) middle = [(left + right) / 2, (low + high) / 2];
    else middle = [middle[0] + dx * change, middle[1] - dy * change];
    draw();
  }
  for (const button of box.querySelectorAll("[data-map]")) {
    button.addEventListener("click", () => zoomAt(Number(button.dataset.map), canvas.clientWidth / 2, canvas.clientHeight / 2));
  }
  canvas.addEventListener("wheel", event => {
    if (!("wheel" in box.dataset) && !event.ctrlKey) return;
    event.preventDefault();
    zoomAt(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  }, {passive: false});
  let from = null;
  canvas.addEventListener("pointerdown", event => { from = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("pointercancel", () => { from = null; });
  canvas.addEventListener("pointerleave", () => showTip());
  canvas.addEventListener("pointermove", event => {
    if (from && zoom > 1) {
      middle = [middle[0] - (event.clientX - from[0]) / scale(), middle[1] + (event.clientY - from[1]) / scale()];
      from = [event.clientX, event.clientY];
      draw();
      return;
    }
    let best = -1, nearest = 144;
    for (let n = 0; n < count; n++) {
      if (chosen.size && !chosen.has(data.language[n])) continue;
      const [x, y] = place(data.x[n], data.y[n]), distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (distance < nearest) { nearest = distance; best = n; }
    }
    const answered = n => `\ntrue: ${data.languages[data.language[n]].name}\nanswered: ${data.answers[data.answer[n]]}`;
    showTip(best >= 0 && data.names[best] + (data.answers.length ? answered(best) : ""), event.clientX, event.clientY);
  });
  const icons = [];
  data.languages.forEach((language, n) => {
    const item = document.createElement("li"), button = document.createElement("button"), icon = document.createElement("canvas");
    button.setAttribute("aria-pressed", "false");
    button.append(icon, `${language.name}${language.count > 1 ? `, ${language.count}` : ""}`);
    button.addEventListener("click", () => {
      if (!chosen.delete(n)) chosen.add(n);
      button.setAttribute("aria-pressed", String(chosen.has(n)));
      draw();
    });
    icon.width = icon.height = 32;
    icons.push(() => {
      const own = icon.getContext("2d");
      own.setTransform(1, 0, 0, 1, 0, 0); own.clearRect(0, 0, 32, 32); own.setTransform(12, 0, 0, 12, 16, 16);
      own.fillStyle = colour(language); own.fill(SHAPES[language.marker]);
    });
    item.append(button); box.querySelector(".legend ul").append(item);
  });
  const all = () => { icons.forEach(icon => icon()); draw(); };
  withNames.addEventListener("change", draw);
  dark.addEventListener("change", all);
  new ResizeObserver(draw).observe(canvas);
  all();
}
document.querySelectorAll(".map").forEach(drawMap);
