"use strict";
(() => {
  const frame = document.querySelector(".frame");
  const sheet = frame.querySelector(".sheet");
  const bar = frame.querySelector(".scale-bar span");
  const marks = [...frame.querySelectorAll(".marks rect")];
  const columns = Number(frame.dataset.columns), rows = Number(frame.dataset.rows);
  const MOST_CELL_PX = 160, STEP = 1.5, MOVE_PX = 60, MARGIN_CELLS = 4, BAR_PX = 120;

  // The sheet is as wide as the frame before it is scaled; a cell is then `cell` px wide.
  let scale = 1, left = 0, top = 0;
  const cell = () => frame.clientWidth / columns;
  const least = () => Math.min(1, frame.clientHeight / (cell() * rows));
  const most = () => Math.max(MOST_CELL_PX / cell(), least());

  const within = (offset, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset)));
  const draw = () => {
    left = within(left, cell() * columns * scale, frame.clientWidth);
    top = within(top, cell() * rows * scale, frame.clientHeight);
    sheet.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    sheet.style.setProperty("--scale", scale);
    const kmPx = (cell() * scale) / Number(frame.dataset.cellKm);
    const power = 10 ** Math.floor(Math.log10(BAR_PX / kmPx));
    const km = [5, 2, 1].map((step) => step * power).find((length) => length * kmPx <= BAR_PX);
    bar.style.width = `${km * kmPx}px`;
    bar.textContent = km >= 1 ? `${km} km` : `${Math.round(km * 1000)} m`;
  };
  const zoomAt = (x, y, factor) => {
    const next = Math.min(most(), Math.max(least(), scale * factor));
    left = x - ((x - left) * next) / scale;
    top = y - ((y - top) * next) / scale;
    scale = next;
    draw();
  };
  const zoom = (factor) => zoomAt(frame.clientWidth / 2, frame.clientHeight / 2, factor);
  const showAll = () => { scale = least(); left = top = 0; draw(); };
  const showBox = (row, column, height, width) => {
    const wide = width + 2 * MARGIN_CELLS, high = height + 2 * MARGIN_CELLS;
    const fitting = Math.min(frame.clientWidth / wide, frame.clientHeight / high) / cell();
    scale = Math.min(most(), Math.max(least(), fitting));
    left = frame.clientWidth / 2 - (column + width / 2) * cell() * scale;
    top = frame.clientHeight / 2 - (row + height / 2) * cell() * scale;
    draw();
  };

  const pointers = new Map();
  const place = (event) => {
    const box = frame.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = place(event);
    zoomAt(x, y, Math.exp(-event.deltaY / 400));
  }, { passive: false });
  frame.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    frame.setPointerCapture(event.pointerId);
    frame.classList.add("dragging");
    pointers.set(event.pointerId, place(event));
  });
  frame.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, now);
    if (other) {
      const apart = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
      zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, apart(now) / apart(before));
    } else {
      left += now.x - before.x;
      top += now.y - before.y;
      draw();
    }
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) frame.classList.remove("dragging");
  };
  frame.addEventListener("pointerup", release);
  frame.addEventListener("pointercancel", release);
  frame.addEventListener("dblclick", (event) => {
    if (event.target.closest("button")) return;
    const { x, y } = place(event);
    zoomAt(x, y, STEP * STEP);
  });
  const keys = {
    "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), "0": showAll,
    ArrowLeft: () => { left += MOVE_PX; draw(); }, ArrowRight: () => { left -= MOVE_PX; draw(); },
    ArrowUp: () => { top += MOVE_PX; draw(); }, ArrowDown: () => { top -= MOVE_PX; draw(); },
  };
  frame.addEventListener("keydown", (event) => {
    if (event.target !== frame || !keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  const actions = { in: () => zoom(STEP), out: () => zoom(1 / STEP), all: showAll };
  for (const button of frame.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", actions[button.dataset.zoom]);
  }

  for (const slider of document.querySelectorAll("[data-layer]")) {
    const show = () => {
      for (const layer of sheet.querySelectorAll(`.${slider.dataset.layer}`)) layer.style.opacity = slider.value / 100;
    };
    slider.addEventListener("input", show);
    show();
  }

  for (const button of document.querySelectorAll(".go")) {
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll('.go[aria-pressed="true"]')) other.removeAttribute("aria-pressed");
      button.setAttribute("aria-pressed", "true");
      const [row, column, height, width] = button.dataset.box.split(" ").map(Number);
      for (const mark of marks) {
        for (const [name, value] of Object.entries({ x: column, y: row, width, height })) mark.setAttribute(name, value);
      }
      showBox(row, column, height, width);
      frame.scrollIntoView({ block: "nearest" });
    });
  }

  document.documentElement.classList.add("scripted");
  showAll();
  new ResizeObserver(draw).observe(frame);
})();
