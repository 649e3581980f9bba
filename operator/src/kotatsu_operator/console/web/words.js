// The texts of the console, in both languages.

const s = (n) => (n === 1 ? "" : "s");

const WORDS = {
  en: {
    other: "日本語", otherCode: "ja", find: "Find a pool", span: "Time shown", more: "Show more pools",
    hours: (n) => `${n} hour${s(n)}`, connecting: "Loading…",
    live: "live", lost: (at) => `Connection lost: this is the state at ${at}. Reconnecting…`,
    title: (warm, all) => `${warm}/${all} awake · Kotatsu`, say: (name, phase) => `${name}: ${phase}`,
    overview: "Overview", show: "Show", pools: "Pools",
    tiles: { awake: "Awake", requests: "Requests", next: "Next", money: "An hour costs now" },
    awakeOf: (warm, all) => `${warm} of ${all}`, podsReady: (n) => `${n} pod${s(n)} Ready`,
    inFlight: (n) => `${n} in flight`, held: (n) => (n ? `${n} wait${n === 1 ? "s" : ""} for a pod` : "none waiting"),
    perHour: (money) => `${money} an hour`, spentSoFar: (money) => `${money} spent so far`,
    filters: { all: "All", awake: "Awake", asleep: "Asleep", attention: "Need attention" },
    legend: { window: "pods of a window", parked: "parked pods of a window", ready: "Ready pods", sign: "opened in time (red: cold)", wake: "woken by a request", now: "now", unseen: "before the operator started" },
    unseen: "before the operator started",
    emptyTitle: "No pool yet",
    emptyText: (namespaces) => `This operator watches the WarmPools of ${namespaces}. Create one for a Deployment there, and it appears here:`,
    emptyAfter: "It sleeps after two minutes without a request, and the next request wakes it.",
    noMatch: "No pool matches.", showAll: "Show all pools",
    phases: { Asleep: "Asleep", Warming: "Warming up", Warm: "Warm", Parked: "Parked", Draining: "Winding down", Sleeping: "Falling asleep", "": "Unknown" },
    suspended: "Suspended", notInForce: "Not in effect", lasts: (time) => `for ${time}`,
    facts: { pods: "Pods Ready", demand: "Requests", next: "Next", spent: "Spent", wakes: "Last wakes", opening: "Last opening" },
    of: (n) => `of ${n}`, demand: (n, held) => `${n} in flight, ${held} held`, noDemand: "none", demandUnknown: "unknown: a pod reports none", demandElsewhere: "not known here",
    never: "none yet", nothing: "nothing planned", noPrices: "no prices given",
    group: (name, money) => `budget group ${name}: ${money}`,
    limit: (money) => `of ${money}`, forecast: (money) => `forecast ${money}`, share: "Share of the budget that is spent",
    prewarm: (w) => `pods start for ${w}`, open: (w) => `${w} opens`, close: (w) => `${w} closes`, in: (time) => `in ${time}`, any: "now",
    wokeAt: (took, at) => `Woken by a request at ${at}, in ${took}`,
    early: (time) => `${time} early`, late: (time) => `${time} late`, coldStill: "opened cold", excused: "opened at once",
    units: { s: (n) => `${n} s`, m: (n) => `${n} min`, h: (n) => `${n} h`, d: (n) => `${n} d`, joint: " " },
    refused: (why) => `Not in effect: ${why}`,
    notDrawn: (error) => `This page cannot show this pool (${error}).`,
    otherZone: (zone, shown) => `${zone} (not known to this browser: times in ${shown})`,
    why: {
      suspended: "Suspended: the operator changes nothing.",
      Window: (p) => `Window ${p.window ?? ""} keeps ${p.floor} pod${s(p.floor)}.`,
      warmingFor: (p) => `Starting ${p.floor} pod${s(p.floor)} for ${p.window ?? "its window"}.`,
      Request: () => "A request woke it.",
      Demand: () => "Requests keep it awake.",
      parked: (p, until) => `${p.window ? `Window ${p.window} keeps` : "Idle, and it keeps"} ${p.ready} pod${s(p.ready)} Ready with smaller requests${until && !p.window ? ` until ${until}` : ""}.`,
      Override: (o, at) => `An override${o.by ? ` by ${o.by}` : ""} keeps it ${o.mode === "Warm" ? "warm" : "asleep"} until ${at}${o.reason ? `: ${o.reason}` : ""}.`,
      overrideOver: () => "An override has put it to sleep; a request wakes it.",
      Idle: () => "Idle: the next request wakes it.",
      leaving: () => "Idle: the activators take over before the last pod ends.",
      Budget: () => "Its budget is spent.",
    },
    problems: {
      NoActivator: "No activator is Ready: it cannot be woken", TargetNotReady: "Its target is not Ready", NoNode: "No node has room for its pods",
      DemandKnown: "A pod does not report its requests, so it stays awake", ReplicasContested: "Something else sets its replicas",
      FloorLimited: "Fewer pods are allowed than it needs", NearLimit: "Its budget is nearly spent", Exhausted: "Its budget is spent",
      WindowNeverOpens: "One of its windows never opens", CalendarFailed: "One of its calendars cannot be read",
      ParkingFailed: "Its pods cannot be parked", NotRestored: "Pods do not get their full requests back", cold: "Its window opened cold",
    },
    details: "Windows, report and conditions", windows: "Windows", wakes: "Wakes", warmUps: "Warm-ups", openings: "Openings", conditions: "Conditions",
    report: "What it was warm for", reason: "Reason", cost: "Cost", runs: "runs", message: "Message", state: "State",
    reasons: { Window: "window", Override: "override", Request: "request", Parked: "parked", Suspended: "suspended", Other: "other" },
    reportSum: (hours, wakes, opened, cold) => `${hours} pod-hours, ${wakes} wake${s(wakes)}, ${opened} window${s(opened)} opened in time, ${cold} cold.`,
    reportCost: (sum, equal) => (equal ? `Cost: ${sum}, as in the ledger.` : `Cost: ${sum}; the ledger differs.`),
    reportSince: (at) => `The record begins at ${at}.`, reportMore: (n) => `${n} more: kubectl demo-mode report`,
    notices: "Notifications", waits: "waiting", sent: "delivered or given up",
    parts: { node: "Node", sandbox: "Volumes, network", pull: "Image", start: "Start" },
    calendars: "Calendars", asOf: "As of", closedDays: "Closed days",
    from: "From", to: "To", replicas: "Pods", parked: (n) => `${n} parked`, name: "Name", took: "Duration", at: "At", verdict: "Result",
    picture: (p, n) => `Timeline of ${p.name}: ${n} window${s(n)} shown, ${p.ready} pod${s(p.ready)} Ready now.`,
  },
  ja: {
    other: "English", otherCode: "en", find: "プールを探す", span: "表示する時間", more: "さらに表示",
    hours: (n) => `${n}時間`, connecting: "読み込み中…",
    live: "ライブ", lost: (at) => `接続が切れました。表示は${at}の時点のものです。再接続中…`,
    title: (warm, all) => `${warm}/${all} 稼働中 · Kotatsu`, say: (name, phase) => `${name}：${phase}`,
    overview: "概要", show: "絞り込み", pools: "プール",
    tiles: { awake: "稼働中", requests: "リクエスト", next: "次の予定", money: "今の1時間あたりの費用" },
    awakeOf: (warm, all) => `${warm} / ${all}`, podsReady: (n) => `ReadyなPod ${n}個`,
    inFlight: (n) => `処理中 ${n}件`, held: (n) => (n ? `起床待ち ${n}件` : "待機なし"),
    perHour: (money) => `1時間あたり ${money}`, spentSoFar: (money) => `今の期間の合計 ${money}`,
    filters: { all: "すべて", awake: "稼働中", asleep: "休止中", attention: "要確認" },
    legend: { window: "ウィンドウのPod", parked: "ウィンドウの待機Pod", ready: "ReadyなPod", sign: "時間通りに開始（赤：準備前に開始）", wake: "リクエストによる起床", now: "現在", unseen: "監視開始前" },
    unseen: "監視開始前",
    emptyTitle: "プールはまだありません",
    emptyText: (namespaces) => `このオペレーターは名前空間 ${namespaces} のWarmPoolを管理します。そこにあるDeploymentのWarmPoolを作成すると、ここに表示されます。`,
    emptyAfter: "2分間リクエストがなければ眠り、次のリクエストで起きます。",
    noMatch: "当てはまるプールはありません。", showAll: "すべてのプールを表示",
    phases: { Asleep: "おやすみ中", Warming: "温め中", Warm: "あたたか", Parked: "待機中", Draining: "片付け中", Sleeping: "眠りに入る途中", "": "不明" },
    suspended: "一時停止", notInForce: "無効", lasts: (time) => `${time}前から`,
    facts: { pods: "ReadyなPod", demand: "リクエスト", next: "次の予定", spent: "費用", wakes: "最近の起床", opening: "直近のウィンドウ" },
    of: (n) => `/ ${n}`, demand: (n, held) => `処理中 ${n}、待機 ${held}`, noDemand: "なし", demandUnknown: "不明（Podが報告していません）", demandElsewhere: "ここでは不明",
    never: "まだなし", nothing: "予定なし", noPrices: "価格が未設定",
    group: (name, money) => `予算グループ ${name}: ${money}`,
    limit: (money) => `/ ${money}`, forecast: (money) => `見込み ${money}`, share: "予算のうち使った割合",
    prewarm: (w) => `${w} のPodを起動`, open: (w) => `${w} 開始`, close: (w) => `${w} 終了`, in: (time) => `${time}後`, any: "まもなく",
    wokeAt: (took, at) => `${at}、リクエストにより${took}で起床`,
    early: (time) => `${time}前に準備完了`, late: (time) => `${time}遅れて準備完了`, coldStill: "準備前に開始", excused: "すぐに開始",
    units: { s: (n) => `${n}秒`, m: (n) => `${n}分`, h: (n) => `${n}時間`, d: (n) => `${n}日`, joint: "" },
    refused: (why) => `無効：${why}`,
    notDrawn: (error) => `このプールは表示できません（${error}）。`,
    otherZone: (zone, shown) => `${zone}（このブラウザーは未対応、時刻は${shown}）`,
    why: {
      suspended: "一時停止中：オペレーターは何も変更しません。",
      Window: (p) => `ウィンドウ ${p.window ?? ""} がPod ${p.floor}個を保っています。`,
      warmingFor: (p) => `${p.window ?? "ウィンドウ"} のためにPod ${p.floor}個を起動中です。`,
      Request: () => "リクエストで起きました。",
      Demand: () => "リクエストがあるので起きています。",
      parked: (p, until) => `${p.window ? `ウィンドウ ${p.window} が` : "アイドル状態です。"}${until && !p.window ? `${until} まで` : ""}Pod ${p.ready}個を少ないリソースでReadyに保っています。`,
      Override: (o, at) => `${o.by ? `${o.by}による` : ""}オーバーライドにより、${at} まで${o.mode === "Warm" ? "温めます" : "眠ります"}${o.reason ? `（${o.reason}）` : ""}。`,
      overrideOver: () => "オーバーライドにより眠りました。リクエストで起きます。",
      Idle: () => "アイドル状態です。次のリクエストで起きます。",
      leaving: () => "アイドル状態です。最後のPodが終了する前にアクティベーターが引き継ぎます。",
      Budget: () => "予算を使い切りました。",
    },
    problems: {
      NoActivator: "Readyなアクティベーターがないため、起こせません", TargetNotReady: "対象がReadyではありません", NoNode: "Podを置けるノードがありません",
      DemandKnown: "Podがリクエスト数を報告しないため、起きたままです", ReplicasContested: "ほかのものがレプリカ数を書き換えています",
      FloorLimited: "必要なPod数まで増やせません", NearLimit: "予算の残りがわずかです", Exhausted: "予算を使い切りました",
      WindowNeverOpens: "開かないウィンドウがあります", CalendarFailed: "読み取れないカレンダーがあります",
      ParkingFailed: "Podを待機状態にできません", NotRestored: "Podのリソースを元に戻せません", cold: "準備が整う前にウィンドウが始まりました",
    },
    details: "ウィンドウ・記録・状態", windows: "ウィンドウ", wakes: "起床", warmUps: "起動の内訳", openings: "開始の記録", conditions: "状態",
    report: "稼働の記録", reason: "理由", cost: "費用", runs: "継続中", message: "内容", state: "状態",
    reasons: { Window: "ウィンドウ", Override: "オーバーライド", Request: "リクエスト", Parked: "待機", Suspended: "一時停止", Other: "その他" },
    reportSum: (hours, wakes, opened, cold) => `${hours} Pod時間、起床${wakes}回、時間通りの開始${opened}回、準備前の開始${cold}回。`,
    reportCost: (sum, equal) => (equal ? `費用 ${sum}（台帳と一致）。` : `費用 ${sum}（台帳と一致しません）。`),
    reportSince: (at) => `記録は${at}からです。`, reportMore: (n) => `ほか${n}件：kubectl demo-mode report`,
    notices: "通知", waits: "送信待ち", sent: "送信済み、または断念",
    parts: { node: "ノード", sandbox: "ボリューム・ネットワーク", pull: "イメージ", start: "起動" },
    calendars: "カレンダー", asOf: "読み取り", closedDays: "休業日",
    from: "開始", to: "終了", replicas: "Pod数", parked: (n) => `待機 ${n}`, name: "名前", took: "所要", at: "時刻", verdict: "結果",
    picture: (p, n) => `${p.name}のタイムライン：ウィンドウ${n}個、現在ReadyなPod ${p.ready}個。`,
  },
};

let current = WORDS.en;

/** The language in use: "ja" or "en". */
export const language = () => (current === WORDS.ja ? "ja" : "en");

/** The words of the language in use. */
export const words = () => current;

/** Choose the language and write it into every element that names its words, like "filters.all". */
export function speakIn(code) {
  current = WORDS[code] ?? WORDS.en;
  document.documentElement.lang = language();
  const word = (path) => path.split(".").reduce((found, name) => found[name], current);
  for (const element of document.querySelectorAll("[data-words]")) element.textContent = word(element.dataset.words);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
}
