// The page: pools as they come from the operator, drawn again as they change.

import { fillCard, newCard, put, tick } from "./card.js";
import { badge, isAwake, needsAttention } from "./judge.js";
import { showOverview } from "./overview.js";
import { moment, now, setClock } from "./time.js";
import { escape } from "./timeline.js";
import { language, speakIn, words } from "./words.js";

const PAGE = 25; // pools shown at first; more on request
const FEW = 5; // up to here nobody needs to search
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const FILTERS = {
  all: () => true,
  awake: isAwake,
  asleep: (pool) => !isAwake(pool) && !pool.refused,
  attention: needsAttention,
};

const $ = (id) => document.getElementById(id);
const pools = new Map();
let state = null; // the newest message, without its pools
let filter = "all";
let shown = PAGE;
let heardAt = 0;

function matching() {
  const wanted = $("find").value.trim().toLowerCase();
  const found = (state?.keys ?? []).filter((key) => pools.has(key) && `${key} ${setOf(key)}`.toLowerCase().includes(wanted) && FILTERS[filter](pools.get(key)));
  return found.sort((one, other) => setOf(one).localeCompare(setOf(other)));
}

/** The WarmPoolSet that made a pool; empty for none, so that these come first. */
const setOf = (key) => pools.get(key).set ?? "";

// --- drawing ---

function drawCard(key) {
  const id = `card ${key}`;
  const card = document.getElementById(id) ?? newCard(id);
  fillCard(card, pools.get(key), { hours: Number($("span").value), since: state.since, width: pictureWidth() });
  return card;
}

/** The cards of some pools; those of one set stand under its name. */
function* drawGroups(keys) {
  let last = "";
  for (const key of keys) {
    if (setOf(key) !== last) yield heading(last = setOf(key));
    yield drawCard(key);
  }
}

function heading(name) {
  const id = `set ${name}`;
  const made = document.getElementById(id) ?? document.createElement("h2");
  return Object.assign(made, { id, className: "set", textContent: `WarmPoolSet ${name}` });
}

/** How wide a picture is: all are alike, and where there is none yet the page is asked. */
function pictureWidth() {
  const [one] = document.getElementsByClassName("picture");
  const measured = one?.clientWidth ?? 0;
  if (measured > 0) return measured;
  const width = $("pools").clientWidth;
  return Math.max(260, matchMedia("(min-width: 56rem)").matches ? width - 330 : width - 34);
}

function drawAll() {
  const found = state ? matching() : [];
  const cards = [...drawGroups(found.slice(0, shown))];
  if (cards.length !== $("pools").childElementCount || cards.some((card, i) => card !== $("pools").children[i])) {
    $("pools").replaceChildren(...cards);
    // Only now the width is known for certain.
    for (const key of found.slice(0, shown)) drawCard(key);
  }
  $("more").hidden = found.length <= shown;
  drawAround(found.length);
}

/** All that is not a pool: figures, filters, and what stands where there is no pool to show. */
function drawAround(found) {
  const all = [...pools.values()];
  const w = words();
  showOverview($("overview"), all);
  $("controls").hidden = $("legend").hidden = all.length === 0;
  $("find-label").hidden = all.length <= FEW && !$("find").value;
  for (const button of $("filters").children) {
    const count = all.filter(FILTERS[button.value]).length;
    put(button, `${escape(w.filters[button.value])} <span class="count">${count}</span>`);
    button.setAttribute("aria-pressed", String(button.value === filter));
    button.classList.toggle("alarm", button.value === "attention" && count > 0);
  }
  $("connecting").hidden = state !== null;
  $("empty").hidden = state === null || all.length > 0;
  $("nothing").hidden = all.length === 0 || found > 0;
  put($("empty-text"), escape(w.emptyText));
  put($("example"), escape(example));
  document.title = state ? w.title(all.filter(isAwake).length, all.length) : "Kotatsu";
  tick();
}

const example = `kubectl apply -n default -f - <<YAML
apiVersion: kotatsu.dev/v1beta1
kind: WarmPool
metadata: {name: my-app}
spec:
  # A Deployment. Leave "replicas" out of its manifest.
  targetRef: {name: my-app}
  idleAfter: 2m
YAML
`;

// --- hearing ---

function receive(message) {
  setClock(message.now);
  const before = new Map([...pools].map(([key, pool]) => [key, badge(pool).text]));
  state = message;
  for (const key of pools.keys()) if (!state.keys.includes(key)) pools.delete(key);
  for (const pool of state.pools) pools.set(`${pool.namespace}/${pool.name}`, pool);
  drawAll();
  const news = state.pools.map((pool) => [pool, before.get(`${pool.namespace}/${pool.name}`)])
    .filter(([pool, was]) => was !== undefined && was !== badge(pool).text);
  if (news.length) $("news").textContent = news.map(([pool]) => words().say(pool.name, badge(pool).text)).join(", ");
}

function sayLive() {
  const isLive = $("live").dataset.state === "live";
  const text = isLive ? words().live : words().lost(moment(heardAt, ZONE));
  if ($("live").dataset.state && $("live").textContent !== text) $("live").textContent = text;
}

function listen() {
  const source = new EventSource("api/changes");
  const note = (how) => {
    $("live").dataset.state = document.body.dataset.state = how;
    sayLive();
  };
  source.addEventListener("message", (event) => {
    receive(JSON.parse(event.data));
    heardAt = now();
    note("live");
  });
  source.addEventListener("open", () => { heardAt = now(); note("live"); });
  source.addEventListener("error", () => {
    if ($("live").dataset.state !== "lost") heardAt = now();
    note("lost");
    // The browser tries again by itself unless the server has refused.
    if (source.readyState === EventSource.CLOSED) {
      source.close();
      setTimeout(listen, 5000);
    }
  });
}

// --- choosing ---

function translate(code) {
  speakIn(code);
  localStorage.setItem("language", language());
  $("language").textContent = words().other;
  $("language").lang = words().otherCode;
  for (const option of $("span").options) option.textContent = words().hours(Number(option.value));
  sayLive();
  drawAll();
}

function choose(name) {
  filter = name;
  shown = PAGE;
  drawAll();
}

function start() {
  $("span").value = localStorage.getItem("span") ?? "24";
  if (!$("span").value) $("span").value = "24";
  translate(localStorage.getItem("language") ?? (navigator.language.startsWith("ja") ? "ja" : "en"));
  $("language").addEventListener("click", () => translate(words().otherCode));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) choose(button.value); });
  $("find").addEventListener("input", () => { shown = PAGE; drawAll(); });
  $("span").addEventListener("change", () => { localStorage.setItem("span", $("span").value); drawAll(); });
  $("more").addEventListener("click", () => { shown += PAGE; drawAll(); });
  $("show-all").addEventListener("click", () => { $("find").value = ""; choose("all"); });
  addEventListener("resize", drawAll);
  listen();
  // Time passes even when nothing changes.
  setInterval(tick, 1000);
  setInterval(() => { if (!document.hidden) drawAll(); }, 15_000);
}

start();
