// What the page says, in both languages.

const WORDS = {
  en: {
    menu: "Menu", logout: "Log out", other: "日本語", otherCode: "ja",
    doorTitle: "A bird is waiting for you",
    doorText: "It eats your contributions of today to GitHub repositories that contain Dart, it grows, and it speaks Japanese.",
    login: "Log in with GitHub", demo: "Visit as a guest",
    tokenSummary: "Use a GitHub token instead", tokenLabel: "Token", enter: "Enter",
    level: "Level", experience: "Experience", speak: "Let it speak",
    feed: (n) => (n === 1 ? "Feed it (1 meal left)" : `Feed it (${n} meals left)`),
    noFood: "No meals left today",
    talkTitle: "Talk to it", talkLabel: "Your message", ask: "Ask", sound: "The bird's voice",
    dressTitle: "Dress and move", clothes: "Clothes", background: "Season",
    normal: "Feathers", spring: "Spring", summer: "Summer", autumn: "Autumn", winter: "Winter",
    nameLabel: "Name", rename: "Rename",
    rankingTitle: "Ranking", bird: "Bird", owner: "Owner", you: "you",
    waking: (s) => `Waking up… ${s} s`, woke: (s) => `Awake after ${s} s.`,
    fed: "Yum! +10 experience.", levelUp: (n) => `Level ${n}!`,
    renamed: "A fine name.", badLogin: "The login did not work: please try again.",
    expired: "Please log in again.", offline: "The server can't be reached: try again.",
    noLogin: "Nobody has set up a login here: use a token.",
    scene: (name, clothes, background) => `${name}, a small blue bird. Clothes: ${clothes}. Season: ${background}.`,
  },
  ja: {
    menu: "メニュー", logout: "ログアウト", other: "English", otherCode: "en",
    doorTitle: "小鳥がきみを待っています",
    doorText: "Dartを含むGitHubリポジトリへの今日のコントリビューションを食べて育ち、日本語を話します。",
    login: "GitHubでログイン", demo: "ゲストとして入る",
    tokenSummary: "GitHubのトークンを使う", tokenLabel: "トークン", enter: "入る",
    level: "レベル", experience: "経験値", speak: "話してもらう",
    feed: (n) => `ごはんをあげる（のこり${n}回）`,
    noFood: "今日のごはんはもうありません",
    talkTitle: "話しかける", talkLabel: "メッセージ", ask: "きく", sound: "小鳥の声",
    dressTitle: "きせかえ・もようがえ", clothes: "服", background: "背景",
    normal: "そのまま", spring: "春", summer: "夏", autumn: "秋", winter: "冬",
    nameLabel: "名前", rename: "かえる",
    rankingTitle: "ランキング", bird: "小鳥", owner: "飼い主", you: "あなた",
    waking: (s) => `おきています… ${s} 秒`, woke: (s) => `${s} 秒でおきました。`,
    fed: "おいしい！経験値 +10", levelUp: (n) => `レベル${n}になりました！`,
    renamed: "いい名前です。", badLogin: "ログインできませんでした。もう一度お試しください。",
    expired: "もう一度ログインしてください。", offline: "サーバーにつながりません。もう一度お試しください。",
    noLogin: "ログインが設定されていません。トークンをお使いください。",
    scene: (name, clothes, background) => `小さな青い鳥、${name}。服：${clothes}。背景：${background}。`,
  },
};

let current = WORDS.en;

/** The words of a language in use: "ja" or "en". */
export function language() {
  return current === WORDS.ja ? "ja" : "en";
}

/** One phrase; those that are functions take arguments. */
export function say(key, ...values) {
  const phrase = current[key];
  return typeof phrase === "function" ? phrase(...values) : phrase;
}

/** Choose the language and write it into every element that names its words. */
export function speakIn(code) {
  current = WORDS[code] ?? WORDS.en;
  document.documentElement.lang = language();
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = say(element.dataset.words);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
}
