
"use strict";
(() => {
  const all = (root, what) => [...root.querySelectorAll(what)];
  const one = (root, what) => root.querySelector(what);
  const press = (buttons, pressed) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(pressed(each)));
  };
  document.documentElement.classList.add("live");

  // Windows, for all images of a series at once. An image without it keeps its first.
  const layOf = (image, number) =>
    one(image, `.lay[data-window="${number}"]`) || one(image, ".lay");
  const chooseWindow = (series, number) => {
    press(all(series, "[data-choose]"), (each) => each.dataset.choose === number);
    series.dataset.window = number;
    for (const image of all(series, ".image")) {
      const chosen = layOf(image, number);
      for (const lay of all(image, ".lay")) lay.hidden = lay !== chosen;
    }
  };
  for (const button of all(document, "[data-choose]")) {
    button.addEventListener("click", () =>
      chooseWindow(button.closest(".series"), button.dataset.choose));
  }

  // The large view: before, after and difference at the same place.
  const viewer = one(document, "#viewer");
  const stage = one(viewer, ".stage");
  const sheet = one(viewer, ".sheet");
  const label = one(viewer, ".face");
  const sheets = all(sheet, "img");
  const images = all(document, ".image");
  const flickering = one(viewer, '[data-do="flicker"]');
  const faces = ["Before", "After", "Difference \u00d716"];
  const sizes = [0, 1, 2, 4];
  const PERIOD_MS = 600; // well below three flashes a second (WCAG 2.3.1)
  let at = 0, face = 0, size = 0, timer = 0;

  const series = () => images[at].closest(".series");
  const lay = () => layOf(images[at], series().dataset.window || "0");

  const measure = () => {
    const { naturalWidth: width, naturalHeight: height } = sheets[0];
    if (!width) return;
    const dots = window.devicePixelRatio || 1; // 1:1 is one pixel of the screen, not of CSS
    const fit = Math.min(stage.clientWidth / width, stage.clientHeight / height);
    const scale = size ? size / dots : fit;
    sheet.style.width = `${width * scale}px`;
    sheet.style.height = `${height * scale}px`;
    stage.classList.toggle("exact", size > 0);
  };
  const say = () => {
    const part = size && one(lay(), ".part") ? "the part that changed most, " : "";
    const scale = size ? `${size}:1` : "fit to the screen";
    one(viewer, "#viewer-said").textContent =
      `Window ${lay().dataset.name}, ${part}${scale}. ${lay().dataset.facts}`;
  };
  const turn = (to) => {
    face = to;
    sheets.forEach((each, index) => each.classList.toggle("up", index === face));
    label.textContent = faces[face];
    press(all(viewer, "[data-face]"), (each) => Number(each.dataset.face) === face);
  };
  const draw = async () => {
    const from = (size && one(lay(), ".part")) || one(lay(), ".trio");
    all(from, "img").forEach((each, index) => {
      sheets[index].src = each.src;
      sheets[index].alt = each.alt;
    });
    press(all(viewer, "[data-size]"), (each) => Number(each.dataset.size) === size);
    press(all(viewer, "[data-open]"), (each) => each.dataset.open === lay().dataset.window);
    turn(face);
    say();
    await Promise.all(sheets.map((each) => each.decode().catch(() => {})));
    measure();
  };
  const rest = () => {
    clearInterval(timer);
    timer = 0;
    flickering.setAttribute("aria-pressed", "false");
    label.setAttribute("aria-live", "polite");
  };
  const swap = () => turn(face === 0 ? 1 : 0);
  const flicker = () => {
    if (timer) { rest(); return; }
    label.setAttribute("aria-live", "off");
    swap();
    timer = setInterval(swap, PERIOD_MS);
    flickering.setAttribute("aria-pressed", "true");
  };
  const enlarge = (to) => { size = to; draw(); };
  const pick = (number) => { chooseWindow(series(), number); draw(); };
  const goTo = (to) => {
    at = (to + images.length) % images.length;
    one(viewer, "#viewer-title").textContent = images[at].dataset.title;
    const group = one(viewer, "#viewer-windows");
    group.replaceChildren(...all(images[at], ".lay").map((each) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.open = each.dataset.window;
      button.textContent = each.dataset.name[0].toUpperCase() + each.dataset.name.slice(1);
      button.addEventListener("click", () => pick(each.dataset.window));
      return button;
    }));
    draw();
  };
  const open = (image, shown = 0) => {
    face = shown;
    viewer.showModal();
    document.documentElement.classList.add("reading");
    goTo(images.indexOf(image));
    stage.focus();
  };
  viewer.addEventListener("close", () => {
    rest();
    document.documentElement.classList.remove("reading");
    one(images[at], ".compare").focus();
  });

  images.forEach((image) => {
    one(image, ".compare").addEventListener("click", () => open(image));
    all(image, ".trio").forEach((trio) => all(trio, "img").forEach((picture, index) =>
      picture.addEventListener("click", () => open(image, index))));
  });
  for (const button of all(viewer, "[data-face]")) {
    button.addEventListener("click", () => { rest(); turn(Number(button.dataset.face)); });
  }
  for (const button of all(viewer, "[data-size]")) {
    button.addEventListener("click", () => enlarge(Number(button.dataset.size)));
  }
  const deeds = {
    close: () => viewer.close(),
    flicker,
    next: () => goTo(at + 1),
    previous: () => goTo(at - 1),
  };
  for (const button of all(viewer, "[data-do]")) {
    button.addEventListener("click", deeds[button.dataset.do]);
  }
  stage.addEventListener("click", () => { rest(); swap(); });

  const step = (by) => sizes[Math.max(0, Math.min(sizes.length - 1, sizes.indexOf(size) + by))];
  const keys = {
    f: () => { rest(); swap(); },
    a: flicker,
    d: () => { rest(); turn(2); },
    n: deeds.next,
    p: deeds.previous,
    "+": () => enlarge(step(1)),
    "=": () => enlarge(step(1)),
    "-": () => enlarge(step(-1)),
  };
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    let deed = keys[event.key.toLowerCase()];
    if (event.key === " " && event.target === stage) deed = keys.f;
    const chosen = all(viewer, "[data-open]")[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && chosen) deed = () => pick(chosen.dataset.open);
    if (!deed) return;
    event.preventDefault();
    deed();
  });
  new ResizeObserver(measure).observe(stage);
})();
