// Shows the numbers of the points that are nearest to the pointer, in every chart of the page.
"use strict";
for (const svg of document.querySelectorAll("svg[data-series]")) {
  const series = JSON.parse(svg.dataset.series);
  const figure = svg.closest("figure");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  const rings = series.map(() => {
    const ring = document.createElementNS(svg.namespaceURI, "circle");
    ring.setAttribute("class", "at");
    ring.setAttribute("r", "0");
    svg.append(ring);
    return ring;
  });
  const text = (value) => String(Number(value.toPrecision(4)));
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * svg.viewBox.baseVal.width) / box.width;
    const nearest = series.map((one) =>
      one.points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best)),
    );
    const closest = nearest.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
    tip.replaceChildren();
    const say = (line) => {
      const row = document.createElement("div");
      row.textContent = line;
      tip.append(row);
    };
    say(`${svg.dataset.x}: ${text(closest[2])}`);
    nearest.forEach((point, at) => {
      const near = Math.abs(point[0] - closest[0]) < 6;
      rings[at].setAttribute("r", near ? "5" : "0");
      rings[at].setAttribute("cx", point[0]);
      rings[at].setAttribute("cy", point[1]);
      if (near) say(`${series[at].name}: ${text(point[3])}`);
    });
    tip.hidden = false;
    const room = figure.clientWidth - tip.offsetWidth - 4;
    const around = figure.getBoundingClientRect();
    const wanted = event.clientX - around.left + 14;
    tip.style.left = `${Math.max(4, wanted > room ? wanted - tip.offsetWidth - 28 : wanted)}px`;
    tip.style.top = `${box.top - around.top + 8}px`;
  };
  const hide = () => {
    tip.hidden = true;
    rings.forEach((ring) => ring.setAttribute("r", "0"));
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
