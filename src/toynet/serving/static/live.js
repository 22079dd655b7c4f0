// Asks for the page again while something on it is at work, and puts in what has changed.

const offline = document.getElementById("offline");

async function renew() {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const pause = 1000 * Number(main.dataset.live);
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href);
      offline.hidden = true;
      if (answer.ok) replace(main, await answer.text());
    } catch {
      offline.hidden = false; // asked again until it answers
    }
  }
  setTimeout(renew, pause);
}

function replace(main, text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const old of document.querySelectorAll("[data-renew]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && fresh.innerHTML !== old.dataset.last && fresh.innerHTML !== old.innerHTML) swap(old, fresh);
  }
  if (!page.querySelector("main[data-live]")) main.removeAttribute("data-live");
}

// What a reader has opened, scrolled or focused stays so.
function swap(old, fresh) {
  const folds = (within) => [...within.querySelectorAll("details")];
  const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  const open = folds(old).map((one) => one.open);
  const all = [...old.querySelectorAll("a, summary, [tabindex]")];
  const focused = all.indexOf(document.activeElement);
  old.dataset.last = fresh.innerHTML;
  old.replaceChildren(...fresh.childNodes);
  folds(old).forEach((one, place) => { if (place in open) one.open = open[place]; });
  [...old.querySelectorAll(".scroll")].forEach((one, place) => { one.scrollLeft = scrolled[place] ?? 0; });
  if (focused >= 0) old.querySelectorAll("a, summary, [tabindex]")[focused]?.focus();
}

setTimeout(renew, 1000);
