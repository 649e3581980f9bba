// Ask every two seconds how far the wake is. The activator answers with the header Kotatsu-Waking; an
// answer without it is the app's, so the page is loaded again. HEAD: a link that works once stays whole.
const { body } = document;
const said = document.getElementById("said");
const bar = document.getElementById("progress");
const began = performance.now() - 1000 * Number(body.dataset.waited);
const expected = Number(body.dataset.expected);

function say(stage) {
  body.dataset.state = stage === "over" ? "over" : "waiting";
  if (said.textContent !== said.dataset[stage]) said.textContent = said.dataset[stage];
}

function draw() {
  const waited = (performance.now() - began) / 1000;
  if (expected && waited < expected) bar.value = waited / expected;
  else bar.removeAttribute("value");
}

async function ask() {
  let stage;
  try {
    const answer = await fetch(location.href, { method: "HEAD", cache: "no-store", redirect: "manual", headers: { "Kotatsu-Waking": "ask" } });
    stage = answer.headers.get("Kotatsu-Waking");
    if (!stage) return location.reload();
  } catch {
    // The connection broke off, as it does when the pod takes over: ask again.
  }
  if (stage) say(stage);
  if (stage !== "over") setTimeout(ask, 2000);
}

if (body.dataset.state === "waiting") {
  draw();
  setInterval(draw, 500);
  setTimeout(ask, 1000);
}
