// The curves of a run, which grow while it trains.

import { Plot } from "/static/plot.js";

const PAUSE_MS = 1000;
const panels = document.getElementById("panels");
const percent = (value) => (value === null ? null : 100 * value);
const figure = (kind) => panels.querySelector(`[data-kind=${kind}]`);
const plots = [
  new Plot(figure("accuracy"), [
    { label: "training", kind: "train", of: (record) => percent(record.train_accuracy) },
    { label: "validation", kind: "val", of: (record) => percent(record.val_accuracy) },
  ]),
  new Plot(figure("loss"), [
    { label: "training", kind: "train", of: (record) => record.train_loss },
    { label: "validation", kind: "val", of: (record) => record.val_loss },
  ], { digits: 3 }),
  new Plot(figure("rate"), [{ label: "", kind: "val", of: (record) => record.lr }], { log: true }),
];
let records = [];

async function follow() {
  let again = true;
  if (!document.hidden || !records.length) {
    try {
      const after = records.at(-1)?.epoch ?? 0;
      const answer = await fetch(`/api/runs/${panels.dataset.run}/metrics?after=${after}`);
      if (answer.ok) again = show(await answer.json(), after);
      else again = answer.status === 503;
    } catch {
      // the page says that the server does not answer; it is asked again
    }
  }
  if (again) setTimeout(follow, PAUSE_MS);
}

// Whether there is more to come.
function show(news, after) {
  const going = news.status === "running";
  if (news.epochs.length || !after) {
    records = records.concat(news.epochs);
    for (const plot of plots) plot.show(records, going ? news.planned_epochs : records.at(-1)?.epoch ?? news.planned_epochs);
    document.getElementById("hint").hidden = !records.length;
    panels.dataset.epochs = records.length;
  }
  return going;
}

follow();
