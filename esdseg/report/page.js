"use strict";
(() => {
  const root = document.documentElement;
  const gallery = document.querySelector(".gallery");
  const cards = gallery.querySelector(".cards");

  for (const stage of gallery.querySelectorAll(".stage")) {
    const slider = stage.querySelector(".slider");
    const split = () => stage.style.setProperty("--split", `${slider.value}%`);
    slider.addEventListener("input", split);
    split();
  }

  for (const side of ["left", "right"]) {
    const select = document.getElementById(`${side}-layer`);
    const show = () => { gallery.dataset[side] = select.value; };
    select.addEventListener("change", show);
    show();
  }

  const order = document.getElementById("order");
  const sort = () => {
    const [key, direction] = order.value.split("-");
    const sign = direction === "falling" ? -1 : 1;
    // A tile whose score is undefined comes last whatever the direction.
    const value = (card) => (card.dataset[key] === "" ? Infinity : sign * Number(card.dataset[key]));
    const byIndex = (one, other) => one.dataset.index - other.dataset.index;
    const compare = (one, other) => {
      const mine = value(one), theirs = value(other);
      return mine === theirs ? byIndex(one, other) : mine < theirs ? -1 : 1;
    };
    cards.append(...[...cards.children].sort(compare));
  };
  order.addEventListener("change", sort);
  sort();

  root.classList.add("scripted");
})();
