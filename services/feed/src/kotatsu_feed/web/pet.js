// The page: who is here, what the bird looks like, and what the buttons do.

import { Refusal, call, challengeOf, feed, isLoggedIn, keepToken, objects, randomKey, request } from "./api.js";
import { draw } from "./bird.js";
import { bounds } from "./levels.js";
import { playBase64, playStream } from "./sound.js";
import { language, say, speakIn } from "./words.js";

const CLOTHES = ["normal", "spring", "summer", "autumn", "winter"];
const BACKGROUNDS = ["spring", "summer", "autumn", "winter"];
const PATIENCE = 400; // ms without an answer after which the voice must be asleep

const $ = (id) => document.getElementById(id);
let pet = null;
let config = { login_url: "", demo_token: "", avatar_origins: [] };

// --- showing ---

function tell(text) {
  $("status").textContent = text;
}

function mood(name) {
  $("scene").firstElementChild?.setAttribute("data-mood", name);
}

function showPet() {
  const label = say("scene", pet.characterName, say(pet.characterClothes), say(pet.characterBackground));
  const before = $("scene").firstElementChild?.getAttribute("data-mood") ?? "idle";
  $("scene").innerHTML = draw({
    clothes: pet.characterClothes, background: pet.characterBackground, label,
  });
  mood(before);
  $("pet-name").textContent = pet.characterName;
  $("level").textContent = pet.characterLevel;
  const { from, to } = bounds(pet.characterLevel);
  $("experience").max = to - from;
  $("experience").value = pet.characterExperience - from;
  $("experience-text").textContent = `${pet.characterExperience} / ${to}`;
  $("feed").textContent = pet.feedCount > 0 ? say("feed", pet.feedCount) : say("noFood");
  $("feed").disabled = pet.feedCount <= 0;
  choices("clothes", CLOTHES, pet.characterClothes);
  choices("background", BACKGROUNDS, pet.characterBackground);
  if (document.activeElement !== $("name")) $("name").value = pet.characterName;
}

function choices(group, items, chosen) {
  const box = $(group);
  if (!box.childElementCount) {
    for (const item of items) {
      const label = document.createElement("label");
      label.append(Object.assign(document.createElement("input"), {
        type: "radio", name: group, value: item,
      }), document.createElement("span"));
      box.append(label);
    }
    box.addEventListener("change", (event) => change(group, event.target.value));
  }
  for (const label of box.children) {
    label.firstElementChild.checked = label.firstElementChild.value === chosen;
    label.lastElementChild.textContent = say(label.firstElementChild.value);
  }
}

function showRanking(birds) {
  $("ranking").replaceChildren(...birds.map((bird, i) => {
    const row = document.createElement("tr");
    const isMine = bird.userName === pet.userName;
    if (isMine) row.className = "mine";
    const owner = cell(isMine ? `${bird.userName} (${say("you")})` : bird.userName);
    if (mayShow(bird.avatarUrl)) {
      owner.prepend(Object.assign(document.createElement("img"), {
        src: bird.avatarUrl, alt: "", width: 24, height: 24, loading: "lazy",
      }));
    }
    row.append(cell(i + 1, "number"), cell(bird.characterName), owner, cell(bird.characterLevel, "number"));
    return row;
  }));
}

/** Pictures come from where this installation says; the browser refuses all others. */
function mayShow(url) {
  return URL.canParse(url) && [location.origin, ...config.avatar_origins].includes(new URL(url).origin);
}

function cell(text, kind = "") {
  const made = document.createElement("td");
  made.className = kind;
  made.append(document.createTextNode(text));
  return made;
}

function showCredit(line) {
  $("credit").textContent = line;
  $("credit").hidden = !line;
  $("audio").hidden = false;
}

function showRoom() {
  $("door").hidden = isLoggedIn();
  $("room").hidden = !isLoggedIn() || pet === null;
  $("logout").hidden = !isLoggedIn();
  $("login").hidden = !config.login_url;
  $("demo").hidden = !config.demo_token;
  $("demo").classList.toggle("main", !config.login_url);
}

function translate(code) {
  speakIn(code);
  localStorage.setItem("language", language());
  $("language").textContent = say("other");
  $("language").lang = say("otherCode");
  $("door-scene").innerHTML = draw({
    id: "door-bird", background: "winter", clothes: "winter", label: say("doorTitle"),
  });
  if (pet) {
    showPet();
    refreshRanking();
  }
}

// --- doing ---

/** Run what a click asks for: one at a time, and whatever goes wrong is said in words. */
async function act(button, work) {
  if (button) button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) logOut(say("expired"));
    else tell(error instanceof Refusal ? error.message : say("offline"));
  } finally {
    if (button) button.removeAttribute("aria-busy");
    if (pet) mood("idle");
  }
}

async function visit() {
  await act(null, async () => {
    pet = await call("GET", "home");
    showRoom();
    showPet();
    const [food] = await Promise.allSettled([call("POST", "get_feed"), refreshRanking()]);
    if (food.status === "rejected") throw food.reason;
    pet.feedCount = food.value.feedCount;
    showPet();
  });
}

async function refreshRanking() {
  showRanking(await call("GET", "ranking"));
}

async function feedPet() {
  mood("eating");
  const fed = await feed();
  const grown = fed.characterLevel > pet.characterLevel;
  Object.assign(pet, {
    characterExperience: fed.characterExperience,
    characterLevel: fed.characterLevel,
    feedCount: fed.feedCount,
  });
  showPet();
  tell(grown ? say("levelUp", pet.characterLevel) : say("fed"));
  await Promise.all([pause(900), grown ? refreshRanking() : null]);
}

async function change(group, item) {
  const [mine, field] = [pet, group === "clothes" ? "characterClothes" : "characterBackground"];
  const before = mine[field];
  mine[field] = item; // at once: an answer to something else shows the whole pet again
  showPet();
  await act(null, async () => {
    try {
      await call("PUT", `change_${group}`, { item });
    } catch (error) {
      mine[field] = before;
      throw error;
    }
  });
  if (pet) showPet();
}

async function rename() {
  const answer = await call("PUT", "update_profile", { characterName: $("name").value });
  pet.characterName = answer.characterName;
  showPet();
  tell(say("renamed"));
}

/** Wait for the voice; while it sleeps the bird stretches and the seconds are shown. */
async function awake(answering) {
  const began = performance.now();
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
  let isWaking = false;
  const clock = setInterval(() => {
    if (performance.now() - began < PATIENCE) return;
    if (!isWaking) mood("waking");
    isWaking = true;
    tell(say("waking", seconds()));
  }, 100);
  try {
    const answer = await answering;
    tell(isWaking ? say("woke", seconds()) : "");
    return answer;
  } finally {
    clearInterval(clock);
  }
}

async function speak() {
  const text = `${pet.characterName}だよ。レベル${pet.characterLevel}になったよ。`
    + (pet.feedCount > 0 ? "おなかがすいたなあ。" : "おなかいっぱい、ありがとう。");
  const answer = await awake(request("POST", "voice?stream=true", { json: { text } }));
  showCredit(decodeURIComponent(answer.headers.get("X-Voice-Credit") ?? ""));
  hear(text);
  await playStream($("audio"), answer);
  await ended($("audio"));
}

async function ask() {
  const json = { message: $("message").value };
  const answer = await awake(request("POST", "talk?stream=true", { json }));
  $("message").value = "";
  let said = "";
  for await (const sentence of objects(answer)) {
    await ended($("audio"));
    showCredit(sentence.credit);
    hear(said += sentence.text);
    playBase64($("audio"), sentence.audio);
  }
  await ended($("audio"));
}

function hear(text) {
  $("says").textContent = text;
  $("says").hidden = false;
  mood("speaking");
}

function ended(audio) {
  if (audio.ended || audio.paused) return Promise.resolve();
  return new Promise((resolve) => {
    for (const name of ["ended", "pause", "error"]) audio.addEventListener(name, resolve, { once: true });
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// --- coming and going ---

/** Go to GitHub. The code that comes back is worth nothing without the verifier (PKCE). */
async function logIn() {
  const [state, verifier] = [randomKey(), randomKey() + randomKey()];
  sessionStorage.setItem("state", state);
  const url = new URL(config.login_url);
  url.searchParams.set("state", state);
  if (crypto.subtle) { // on secure origins only; on others a listener reads the token itself
    sessionStorage.setItem("verifier", verifier);
    url.searchParams.set("code_challenge", await challengeOf(verifier));
    url.searchParams.set("code_challenge_method", "S256");
  }
  url.searchParams.set("redirect_uri", location.origin + location.pathname);
  location.assign(url);
}

/** Come back from GitHub: the state must be ours, and the code must not stay in the address. */
async function comeBack() {
  const query = new URLSearchParams(location.search);
  const [code, state] = [query.get("code"), query.get("state")];
  if (!code && !query.get("error")) return;
  history.replaceState(null, "", location.pathname);
  const [expected, verifier] = ["state", "verifier"].map((key) => sessionStorage.getItem(key));
  for (const key of ["state", "verifier"]) sessionStorage.removeItem(key);
  if (!code || !expected || state !== expected) {
    tell(say("badLogin"));
    return;
  }
  try {
    const { access_token: token } = await call("POST", "token", { code, code_verifier: verifier });
    keepToken(token);
  } catch (error) {
    tell(error instanceof Refusal ? say("badLogin") : say("offline"));
  }
}

function logOut(words = "") {
  keepToken("");
  pet = null;
  $("says").hidden = true;
  showRoom();
  tell(words);
}

function enter(token) {
  keepToken(token);
  tell("");
  return visit();
}

function onSubmit(form, button, work) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    act(button && $(button), work);
  });
}

async function start() {
  translate(localStorage.getItem("language") ?? (navigator.language.startsWith("ja") ? "ja" : "en"));
  $("language").addEventListener("click", () => translate(say("otherCode")));
  $("logout").addEventListener("click", () => logOut());
  $("login").addEventListener("click", () => act($("login"), logIn));
  $("demo").addEventListener("click", () => enter(config.demo_token));
  $("feed").addEventListener("click", () => act($("feed"), feedPet));
  $("speak").addEventListener("click", () => act($("speak"), speak));
  onSubmit("token-form", null, () => enter($("token").value.trim()));
  onSubmit("talk-form", "ask", ask);
  onSubmit("name-form", null, rename);
  try {
    config = await call("GET", "pet/config.json");
    await comeBack();
  } catch {
    tell(say("offline"));
  }
  showRoom();
  if (isLoggedIn()) await visit();
}

start();
