"use strict";
// Everything is unfolded for who has no script and on paper; on the screen the still figures and the long tables wait.
const folds = [...document.querySelectorAll("details")];
for (const fold of folds) fold.open = false;
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = folds.filter((fold) => !fold.open);
  for (const fold of unfolded) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of unfolded) fold.open = false;
});
// A link into something folded away opens it first.
const reveal = () => {
  const [name] = location.hash.slice(1).split("&");
  const target = name && document.getElementById(decodeURIComponent(name));
  if (!target) return;
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  // Who loads the page again stays where they are.
  if (performance.getEntriesByType("navigation")[0]?.type !== "reload") target.scrollIntoView();
};
addEventListener("hashchange", reveal);
addEventListener("DOMContentLoaded", reveal);
// What a number comes from, at the first pointer over it.
addEventListener("pointerover", ({ target }) => {
  const link = target.closest?.('td a[href^="#arm-"]');
  if (!link || link.title) return;
  const runs = document.querySelectorAll(`${link.hash} > [id^="run-"]`);
  link.title = `runs of the arm: ${[...runs].map((run) => run.id.slice(4, 12)).join(", ")}`;
});
