// A picture goes to the server, what the model says comes back. Dropped, pasted or chosen.

const LARGEST_BYTES = 10 * 2 ** 20;
const place = document.getElementById("try");
const input = document.getElementById("picture");
const drop = document.querySelector(".drop");
const said = document.getElementById("said");
const outcome = document.getElementById("outcome");
const given = document.getElementById("given");
const address = `/api/runs/${place.dataset.run}`;
let turn = 0; // only the picture that came last is shown

async function load() {
  try {
    const answer = await fetch(`${address}/model`);
    const state = await answer.json();
    if (!answer.ok) return say(state.error, "trouble");
    if (state.state === "loading") return void setTimeout(load, 300);
    place.dataset.ready = "yes";
    if (!turn) say(`Ready. The model tells ${state.classes.length} classes apart: ${listed(state.classes)}.`);
  } catch {
    say("The server does not answer.", "trouble");
  }
}

function listed(names) {
  const shown = names.slice(0, 12).join(", ");
  return names.length > 12 ? `${shown} and ${names.length - 12} more` : shown;
}

async function classify(file) {
  if (!file) return;
  const mine = ++turn;
  const began = performance.now();
  if (file.size > LARGEST_BYTES) return refuse("more than 10 MB; send a smaller picture");
  say("Looking …");
  let answer, found;
  try {
    answer = await fetch(`${address}/predict?top=10&heat=true`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: file,
    });
    found = await answer.json();
  } catch {
    if (mine === turn) refuse("the server does not answer");
    return;
  }
  if (mine !== turn) return;
  if (!answer.ok) return refuse(found.error);
  show(file, found);
  const took = Math.round(performance.now() - began);
  say(`Answered in ${took} ms.`);
  place.dataset.took = took;
}

function say(text, kind = "") {
  said.textContent = text;
  said.className = `note ${kind}`;
}

function refuse(text) {
  outcome.hidden = true;
  say(text.charAt(0).toUpperCase() + text.slice(1), "trouble");
}

function show(file, found) {
  URL.revokeObjectURL(given.src);
  given.src = URL.createObjectURL(file);
  document.getElementById("seen").src = found.seen;
  document.getElementById("hot").hidden = !found.heat;
  if (found.heat) document.getElementById("heat").src = found.heat;
  const [first] = found.guesses;
  document.getElementById("first").textContent = `${first.name}, ${percent(first.probability)}`;
  document.getElementById("guesses").replaceChildren(...found.guesses.map(row));
  document.getElementById("terms").textContent = [
    found.calibrated ? "Calibrated: of answers given with 80 %, about 80 % are right on pictures like those it was trained on."
      : "Not calibrated: the run has no validation images, and is probably less sure than it says.",
    found.heat_missing ? `No heat map: ${found.heat_missing}.` : "",
  ].join(" ");
  outcome.hidden = false;
}

function row(guess) {
  const made = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = guess.name;
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = guess.probability;
  bar.setAttribute("aria-hidden", "true");
  const share = document.createElement("span");
  share.textContent = percent(guess.probability);
  made.append(name, bar, share);
  return made;
}

function percent(value) {
  const shown = 100 * value;
  return shown > 0 && shown < 0.1 ? "< 0.1 %" : `${shown.toFixed(1)} %`;
}

function over(event) {
  event.preventDefault();
  drop.classList.toggle("over", event.type === "dragover");
}

input.addEventListener("change", () => {
  classify(input.files[0]);
  input.value = ""; // so that the same file can be chosen again
});
document.addEventListener("dragover", over);
document.addEventListener("dragleave", over);
document.addEventListener("drop", (event) => {
  over(event);
  const [file] = event.dataTransfer.files;
  if (file) classify(file);
  else refuse("that was no file; drop a picture from a folder");
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) classify(file);
  else refuse("there is no picture on the clipboard");
});
load();
