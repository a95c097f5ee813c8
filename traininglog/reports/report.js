"use strict";
// The page can be read without this. It reads values off curves, and hides, marks and sorts runs.
(() => {
  const root = document.documentElement;
  root.classList.add("live");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const hidden = new Set();
  const buttons = all("button[data-run]");
  const curves = all("g[data-run]");
  const nameOf = new Map(buttons.map((each) => [each.dataset.run, each.textContent]));

  const show = () => {
    for (const each of curves) each.classList.toggle("off", hidden.has(each.dataset.run));
    for (const each of buttons) each.setAttribute("aria-pressed", String(!hidden.has(each.dataset.run)));
  };
  const mark = (run) => {
    for (const each of all("figure.panel svg")) each.classList.toggle("dimmed", run !== null);
    for (const each of curves) each.classList.toggle("on", each.dataset.run === run);
  };
  for (const each of buttons) {
    const run = each.dataset.run;
    each.addEventListener("click", () => {
      hidden.has(run) ? hidden.delete(run) : hidden.add(run);
      show();
    });
    const around = each.closest("tr") || each;
    around.addEventListener("pointerenter", () => mark(run));
    around.addEventListener("pointerleave", () => mark(null));
    each.addEventListener("focus", () => mark(run));
    each.addEventListener("blur", () => mark(null));
  }

  for (const figure of all("figure.panel")) {
    const svg = figure.querySelector(":scope > svg");
    const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const reading = figure.querySelector(".reading");
    const pointer = svg.querySelector(".pointer");
    let curve = 0, point = -1;
    const visible = () => data.map((_, number) => number).filter((n) => !hidden.has(String(data[n][0])) && data[n][1].length);
    const tell = () => {
      const [run, times, values, xs, ys] = data[curve];
      pointer.setAttribute("visibility", "visible");
      pointer.firstElementChild.setAttribute("cx", xs[point]);
      pointer.firstElementChild.setAttribute("cy", ys[point]);
      reading.textContent = `${nameOf.get(String(run))}: ${values[point]} at time ${times[point]}`;
      for (const each of all("g[data-run]", svg)) each.classList.toggle("on", each.dataset.run === String(run));
    };
    const leave = () => {
      pointer.setAttribute("visibility", "hidden");
      reading.textContent = "";
      for (const each of all("g[data-run]", svg)) each.classList.remove("on");
    };
    svg.addEventListener("pointermove", (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let least = Infinity;
      for (const number of visible()) {
        const [, , , xs, ys] = data[number];
        for (let i = 0; i < xs.length; i++) {
          const away = (xs[i] - place.x) ** 2 + (ys[i] - place.y) ** 2;
          if (away < least) { least = away; curve = number; point = i; }
        }
      }
      if (least < Infinity) tell();
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const there = visible();
      if (!there.length || !event.key.startsWith("Arrow")) return;
      let at = Math.max(0, there.indexOf(curve));
      if (event.key === "ArrowUp") at = (at + there.length - 1) % there.length;
      if (event.key === "ArrowDown") at = (at + 1) % there.length;
      curve = there[at];
      const last = data[curve][1].length - 1;
      if (event.key === "ArrowLeft") point -= 1;
      if (event.key === "ArrowRight") point += 1;
      point = Math.min(last, Math.max(0, point));
      event.preventDefault();
      tell();
    });
  }

  for (const table of all("table.sorts")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      let falling = false;
      const valueOf = (row) => {
        const cell = row.cells[column];
        const number = Number(cell.dataset.value);
        if (cell.dataset.value && !Number.isNaN(number)) return [0, number];
        return cell.textContent === "-" || cell.textContent === "" ? [2, 0] : [1, cell.textContent];
      };
      button.addEventListener("click", () => {
        const rows = [...body.rows].map((row) => [valueOf(row), row]);
        rows.sort(([[kind, one]], [[other, two]]) =>
          kind !== other ? kind - other : (falling ? -1 : 1) * (one < two ? -1 : one > two ? 1 : 0));
        for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        falling = !falling;
        body.append(...rows.map(([, row]) => row));
      });
    });
  }
})();
