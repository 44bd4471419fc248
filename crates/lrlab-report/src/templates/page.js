"use strict";
// Sections are unfolded without scripts and in print; with scripts, static figures and long tables start folded.
const folds = [...document.querySelectorAll("details")];
// The state of the page before it reloaded itself; each part of the page registers a function that saves its state.
const kept = history.state?.kept ?? null;
const keepers = [(keep) => { keep.folds = folds.filter((fold) => fold.open).map((fold) => fold.id); }];
for (const fold of folds) fold.open = kept?.folds.includes(fold.id) ?? false;
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = folds.filter((fold) => !fold.open);
  for (const fold of unfolded) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of unfolded) fold.open = false;
});
// The command that repeats the run of a line in the list of runs; empty if the report does not have it.
const commandOf = (line) => {
  if (!line) return [];
  const command = document.getElementById(`command-${line.closest(".arm").dataset.command}`)?.cloneNode(true);
  if (!command) return [];
  command.removeAttribute("id");
  command.firstElementChild.textContent = command.textContent.replace("RUN_ID", line.querySelector("code").textContent);
  return [command];
};
// Unfolds the target of a link.
const reveal = () => {
  const [name] = location.hash.slice(1).split("&");
  const target = name && document.getElementById(decodeURIComponent(name));
  if (!target) return;
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  if (target.matches(".arm > p") && target.nextElementSibling?.tagName !== "PRE") target.after(...commandOf(target));
  // Keeps the scroll position on reload.
  if (performance.getEntriesByType("navigation")[0]?.type !== "reload") target.scrollIntoView();
};
addEventListener("hashchange", reveal);
addEventListener("DOMContentLoaded", reveal);
// Sets the tooltip of a row to its runs when the pointer first enters it.
addEventListener("pointerover", ({ target }) => {
  const link = target.closest?.("tr")?.querySelector('a[href^="#arm-"]');
  if (!link || link.title) return;
  const runs = document.querySelectorAll(`${link.hash} > [id^="run-"]`);
  link.title = `runs of the arm: ${[...runs].map((run) => run.id.slice(4)).join(", ")}`;
});
// While runs are in progress, the page reloads itself unless it is in use.
if (kept) {
  history.scrollRestoration = "manual";
  addEventListener("load", () => {
    scrollTo({ left: kept.x, top: kept.y, behavior: "instant" });
    history.scrollRestoration = "auto";
    history.replaceState(null, "");
  });
}
if ("open" in document.body.dataset) {
  const [EVERY, QUIET] = [5000, 3000];
  let touched = 0;
  for (const type of ["pointermove", "pointerdown", "keydown", "wheel", "input"]) {
    addEventListener(type, () => { touched = Date.now(); }, { passive: true });
  }
  setInterval(() => {
    if (document.hidden || Date.now() - touched < QUIET || String(getSelection())) return;
    const keep = { x: scrollX, y: scrollY };
    for (const keeper of keepers) keeper(keep);
    history.replaceState({ kept: keep }, "");
    location.reload();
  }, EVERY);
}
