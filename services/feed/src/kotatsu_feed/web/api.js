// The services behind the gateway, as the page uses them.

/** An answer that is not 2xx, in the server's own words. */
export class Refusal extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let token = sessionStorage.getItem("token") ?? "";

/** Whether somebody is logged in. */
export const isLoggedIn = () => token !== "";

/** Keep a token until the tab closes; an empty one logs out. */
export function keepToken(value) {
  token = value;
  if (value) sessionStorage.setItem("token", value);
  else sessionStorage.removeItem("token");
}

/** Send a request with the token; throws Refusal, or TypeError when nobody answers. */
export async function request(method, path, { json, headers = {} } = {}) {
  const answer = await fetch(path, {
    method,
    cache: "no-store",
    headers: {
      ...(token ? { Authorization: token } : {}),
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: json === undefined ? undefined : JSON.stringify(json),
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const detail = problem.detail || problem.title || `${answer.status} ${answer.statusText}`;
  throw new Refusal(answer.status, detail, Number(answer.headers.get("Retry-After")));
}

/** The same, for answers in JSON. */
export async function call(method, path, json) {
  return (await request(method, path, { json })).json();
}

/** The objects of a streaming answer, which has one a line, as they come. */
export async function* objects(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value = "", done } = await reader.read();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
    if (done) return;
  }
}

/** Feed once, however often it takes: a repeated key never feeds twice. */
export async function feed() {
  const headers = { "Idempotency-Key": randomKey() };
  for (let tries = 3; ; tries -= 1) {
    try {
      return await (await request("POST", "feed", { headers })).json();
    } catch (error) {
      const isLost = !(error instanceof Refusal) || [502, 504].includes(error.status);
      if (!isLost || tries === 1) throw error;
    }
  }
}

/** 128 random bits; crypto.randomUUID exists on secure origins only. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** S256 of RFC 7636. */
export async function challengeOf(verifier) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  return btoa(String.fromCharCode(...new Uint8Array(digest)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
