// What the console says, in both languages.

const WORDS = {
  en: {
    other: "日本語", otherCode: "ja", find: "Find a pool", span: "Show", more: "Show more pools",
    hours: (n) => `${n} hours`,
    live: "live", lost: "connection lost, trying again…",
    summary: (warm, all) => `${warm} of ${all} ${all === 1 ? "pool" : "pools"} awake`,
    none: "There is no WarmPool in the namespaces that this operator keeps.", noMatch: "No pool has such a name.",
    legend: "Shaded: when a window wants pods. Line: pods that were really Ready. The dashed line is now.",
    phases: { Asleep: "Asleep", Warming: "Warming up", Warm: "Warm", Draining: "Leaving", Sleeping: "Falling asleep", "": "Unknown" },
    pods: "Pods Ready", demand: "Requests", spent: "Spent", next: "Next", wake: "Last wake", opening: "Last opening",
    inFlight: (n, held) => `${n} in flight, ${held} held`, demandUnknown: "unknown: a pod does not tell",
    noDemand: "none", never: "none yet", nothing: "nothing planned",
    rate: (money) => `${money} an hour now`, of: "of", forecast: (money) => `forecast ${money}`, exhausted: "the budget is spent",
    noPrices: "no prices given",
    prewarm: (w, at) => `pods start for ${w} at ${at}`, open: (w, at) => `${w} opens at ${at}`, close: (w, at) => `${w} closes at ${at}`,
    woke: (s, at) => `${s} at ${at}`, early: (s) => `Ready ${s} early`, late: (s) => `Ready ${s} late`, cold: "opened cold",
    refused: (why) => `Not in force: ${why}`, notInForce: "Not in force",
    why: {
      suspended: "Suspended: the operator leaves it alone.",
      Window: (p) => `Window ${p.window ?? ""} keeps ${p.floor} ${p.floor === 1 ? "pod" : "pods"}.`,
      warmingFor: (p) => `Starting ${p.floor} ${p.floor === 1 ? "pod" : "pods"} for ${p.window ?? "its window"}.`,
      Request: () => "A request woke it.",
      Demand: () => "Requests keep it awake.",
      Override: (o, at) => `${o.by || "Somebody"} wants it ${o.mode === "Warm" ? "warm" : "asleep"} until ${at}${o.reason ? `: ${o.reason}` : ""}.`,
      overrideOver: () => "An override has put it to sleep; a request wakes it.",
      Idle: () => "Nothing needs it; the next request wakes it.",
      leaving: () => "Nothing needs it: the activators take over before the last pod goes.",
      Budget: () => "Its budget is spent.",
    },
    details: "Windows and wakes", windows: "Windows", wakes: "Wakes", from: "From", to: "To", replicas: "Pods", name: "Name", took: "Took", at: "At",
    conditions: "Conditions", asked: (a) => `of ${a}`,
    picture: (p, n) => `Timeline of ${p.name}: ${n} windows shown, ${p.ready} pods Ready now.`,
  },
  ja: {
    other: "English", otherCode: "en", find: "プールを探す", span: "表示", more: "さらに表示",
    hours: (n) => `${n}時間`,
    live: "ライブ", lost: "接続が切れました。再接続中…",
    summary: (warm, all) => `${all}個中${warm}個のプールが起きています`,
    none: "このオペレーターの名前空間にWarmPoolはありません。", noMatch: "その名前のプールはありません。",
    legend: "塗り：ウィンドウが求めるPod数。線：実際にReadyだったPod数。破線は現在。",
    phases: { Asleep: "おやすみ中", Warming: "温め中", Warm: "あたたか", Draining: "退出中", Sleeping: "眠りかけ", "": "不明" },
    pods: "ReadyなPod", demand: "リクエスト", spent: "費用", next: "次の予定", wake: "最後の起床", opening: "最後の開始",
    inFlight: (n, held) => `処理中 ${n}、待機 ${held}`, demandUnknown: "不明（Podが答えません）",
    noDemand: "なし", never: "まだなし", nothing: "予定なし",
    rate: (money) => `現在 1時間 ${money}`, of: "/", forecast: (money) => `見込み ${money}`, exhausted: "予算を使い切りました",
    noPrices: "価格が未設定",
    prewarm: (w, at) => `${at} に ${w} のPodを起動`, open: (w, at) => `${at} に ${w} 開始`, close: (w, at) => `${at} に ${w} 終了`,
    woke: (s, at) => `${at}、${s}`, early: (s) => `${s} 前にReady`, late: (s) => `${s} 遅れてReady`, cold: "冷たいまま開始",
    refused: (why) => `無効：${why}`, notInForce: "無効",
    why: {
      suspended: "停止中：オペレーターは何もしません。",
      Window: (p) => `ウィンドウ ${p.window ?? ""} がPod ${p.floor}個を保っています。`,
      warmingFor: (p) => `${p.window ?? "ウィンドウ"} のためにPod ${p.floor}個を起動中です。`,
      Request: () => "リクエストで起きました。",
      Demand: () => "リクエストがあるので起きています。",
      Override: (o, at) => `${o.by || "誰か"}の指定で ${at} まで${o.mode === "Warm" ? "温めます" : "眠ります"}${o.reason ? `（${o.reason}）` : ""}。`,
      overrideOver: () => "指定により眠りました。リクエストで起きます。",
      Idle: () => "誰も必要としていません。次のリクエストで起きます。",
      leaving: () => "誰も必要としていません。最後のPodの前にアクティベーターが引き継ぎます。",
      Budget: () => "予算を使い切りました。",
    },
    details: "ウィンドウと起床", windows: "ウィンドウ", wakes: "起床", from: "開始", to: "終了", replicas: "Pod数", name: "名前", took: "所要", at: "時刻",
    conditions: "状態", asked: (a) => `/ ${a}`,
    picture: (p, n) => `${p.name}のタイムライン：ウィンドウ${n}個、現在ReadyなPod ${p.ready}個。`,
  },
};

let current = WORDS.en;

/** The language in use: "ja" or "en". */
export const language = () => (current === WORDS.ja ? "ja" : "en");

/** The words of the language in use. */
export const words = () => current;

/** Choose the language and write it into every element that names its words. */
export function speakIn(code) {
  current = WORDS[code] ?? WORDS.en;
  document.documentElement.lang = language();
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = current[element.dataset.words];
  }
}

/** Why a pool is as it is, in a sentence. */
export function why(pool, clock) {
  const { why: say } = current;
  if (pool.suspended) return say.suspended;
  if (pool.override && (pool.reason === "Override" || pool.override.mode === "Asleep")) {
    return pool.override.mode === "Asleep" && pool.phase !== "Draining" && pool.ready > 0
      ? say.Request() : say.Override(pool.override, clock(pool.override.until));
  }
  if (pool.reason === "Override") return say.overrideOver();
  if (pool.phase === "Draining" || pool.phase === "Sleeping") return pool.reason === "Budget" ? say.Budget() : say.leaving();
  if (pool.phase === "Asleep") return pool.reason === "Budget" ? say.Budget() : say.Idle();
  if (pool.reason === "Window" && pool.phase === "Warming") return say.warmingFor(pool);
  return (say[pool.reason] ?? say.Idle)(pool);
}
