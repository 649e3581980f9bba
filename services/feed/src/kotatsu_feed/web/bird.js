// The bird and its room, drawn by us as SVG. It sits at a kotatsu; the seasons are outside.

const SCENES = {
  spring: {
    sky: ["#ffe3ec", "#fff6f2"], ground: "#9ccf7d",
    back: `<path d="M0 190q90-70 190-18t210-20v150H0z" fill="#b9dd9a"/>
      <path d="M-8 62q70-46 150-30" fill="none" stroke="#7d5a44" stroke-width="9" stroke-linecap="round"/>
      ${dots([[20, 48], [44, 30], [70, 36], [92, 20], [118, 34], [140, 22], [60, 56]], 13, "#f7a8c0")}
      ${dots([[28, 40], [82, 28], [128, 28]], 7, "#ffd3e0")}`,
    falling: '<ellipse rx="6" ry="3.500" fill="#f7a8c0"/>',
  },
  summer: {
    sky: ["#7fd0f7", "#e4f8ff"], ground: "#f5dfa3",
    back: `<circle cx="332" cy="58" r="30" fill="#ffd34d"/>
      <path d="M0 168h400v60H0z" fill="#2f9bd1"/>
      <path d="M0 178q25-9 50 0t50 0 50 0 50 0 50 0 50 0 50 0 50 0" fill="none" stroke="#bfeaff" stroke-width="4"/>
      <path d="M40 70a18 18 0 0 1 34-8 16 16 0 0 1 26 12 12 12 0 0 1-4 23H48a14 14 0 0 1-8-27z" fill="#fff"/>`,
    falling: "",
  },
  autumn: {
    sky: ["#ffcf8a", "#fff0d8"], ground: "#c98f4e",
    back: `<path d="M0 190l80-84 62 62 70-96 92 96 46-40 50 62v110H0z" fill="#b5653a"/>
      <path d="M180 106l32-34 36 38-20-6-14 12-12-14z" fill="#fff3e2"/>`,
    falling: '<path d="M0-7l2.500 4 5-1-2 4 4 4-5 0-1 5-3.500-3.500L-4 9l-.5-5-5 0 4-4-2-4 5 1z" fill="#d9482b"/>',
  },
  winter: {
    sky: ["#1b2a4a", "#48608f"], ground: "#eef4fb",
    back: `<path d="M0 190q110-60 200-16t200-30v160H0z" fill="#cfdcec"/>
      <path d="M330 34A20 20 0 1 1 311.200 60.800A17 17 0 0 0 330 34z" fill="#f6edc9"/>
      ${dots([[40, 40], [86, 74], [130, 30], [250, 34], [286, 84], [372, 96]], 1.8, "#fff")}
      <path d="M52 204l22-60 22 60zM308 200l26-72 26 72z" fill="#3d6b58"/>`,
    falling: '<circle r="3.500" fill="#fff"/>',
  },
};

const CLOTHES = {
  normal: "",
  spring: dots(
    [[150, 92], [170, 80], [192, 75], [214, 77], [234, 85], [250, 96]], 9, "#f48fb1",
  ) + dots([[150, 92], [170, 80], [192, 75], [214, 77], [234, 85], [250, 96]], 3.5, "#ffe082"),
  summer: `<ellipse cx="200" cy="92" rx="80" ry="13" fill="#e9c46a"/>
    <path d="M152 90q4-44 48-44t48 44z" fill="#f0d58c"/>
    <path d="M153 84q47 14 94 0l1 8q-48 14-96 0z" fill="#d1495b"/>`,
  autumn: `<path d="M142 176q58 26 116 0l4 20q-62 26-124 0z" fill="#c8553d"/>
    <path d="M226 194l22-6 8 44-22 5z" fill="#b3432c"/>
    <path d="M196 62l8 10 12-4-5 12 9 9-13 0-3 12-8-10-11 5 3-12-10-6 12-3z" fill="#e07a2f"/>`,
  winter: `<path d="M144 100q0-58 56-58t56 58q-56-18-112 0z" fill="#c0392b"/>
    <path d="M142 96q58-20 116 0v14q-58-20-116 0z" fill="#fff"/>
    <circle cx="200" cy="40" r="13" fill="#fff"/>
    <path d="M142 178q58 26 116 0l4 18q-62 26-124 0z" fill="#27ae60"/>`,
};

/** The whole picture as SVG. `label` is its text alternative, `id` its own on the page. */
export function draw({ clothes = "normal", background = "spring", label = "", id = "bird" } = {}) {
  const scene = SCENES[background] ?? SCENES.spring;
  return `<svg viewBox="0 0 400 300" role="img" data-mood="idle" data-background="${background}" data-clothes="${clothes}">
    <title>${escape(label)}</title>
    <defs><linearGradient id="${id}-sky" x2="0" y2="1">
      <stop stop-color="${scene.sky[0]}"/><stop offset="1" stop-color="${scene.sky[1]}"/>
    </linearGradient></defs>
    <rect width="400" height="300" fill="url(#${id}-sky)"/>
    ${scene.back}
    <path d="M0 224q200-18 400 0v76H0z" fill="${scene.ground}"/>
    ${falling(scene.falling)}
    <g class="bird">
      <path class="wing left" d="M142 138q-40 12-36 58 2 8 12 6 22-6 34-24z" fill="#2f74b5"/>
      <path class="wing right" d="M258 138q40 12 36 58-2 8-12 6-22-6-34-24z" fill="#2f74b5"/>
      <path d="M194 84q-4-20-16-24 16-2 22 14 6-14 20-14-14 6-14 24z" fill="#2f74b5"/>
      <ellipse cx="200" cy="150" rx="66" ry="70" fill="#3d8bd4"/>
      <path d="M148 172q52 34 104 0-4 50-52 50t-52-50z" fill="#d8ecff"/>
      <g class="eyes">
        <circle cx="176" cy="132" r="9" fill="#1c2530"/><circle cx="224" cy="132" r="9" fill="#1c2530"/>
        <circle cx="179" cy="129" r="3" fill="#fff"/><circle cx="227" cy="129" r="3" fill="#fff"/>
      </g>
      <g class="lids" fill="none" stroke="#1c2530" stroke-width="4" stroke-linecap="round">
        <path d="M167 133q9 8 18 0"/><path d="M215 133q9 8 18 0"/>
      </g>
      <circle cx="160" cy="152" r="9" fill="#f7a8a8" opacity=".7"/>
      <circle cx="240" cy="152" r="9" fill="#f7a8a8" opacity=".7"/>
      <path class="beak lower" d="M190 152h20l-10 13z" fill="#d98324"/>
      <path class="beak upper" d="M186 146q14-8 28 0l-14 11z" fill="#f2a03d"/>
      ${CLOTHES[clothes] ?? ""}
    </g>
    <g class="crumbs" fill="#f3c677">${dots([[170, 214], [200, 209], [232, 214]], 5, "#f3c677")}</g>
    <g class="dreams" fill="#7f93b2" font-family="sans-serif" font-weight="bold">
      <text x="262" y="96" font-size="26">z</text><text x="286" y="70" font-size="18">z</text>
    </g>
    <path d="M64 232q136-34 272 0l44 70H20z" fill="#c8553d"/>
    <path d="M74 248q126-30 252 0M60 272q140-30 280 0" fill="none" stroke="#f3c677" stroke-width="6" opacity=".8"/>
    <rect x="48" y="218" width="304" height="16" rx="8" fill="#7a4a2b"/>
    <ellipse cx="300" cy="216" rx="15" ry="8" fill="#f28c28"/><circle cx="300" cy="210" r="10" fill="#f5a04a"/>
    <path d="M299 200q6-4 9 0-5 5-9 0z" fill="#4c9a4c"/>
  </svg>`;
}

function dots(places, radius, color) {
  return places
    .map(([x, y]) => `<circle cx="${x}" cy="${y}" r="${radius}" fill="${color}"/>`)
    .join("");
}

function falling(shape) {
  if (!shape) return "";
  const places = [[30, 20], [90, 90], [150, 10], [220, 50], [280, 120], [340, 30], [380, 90], [60, 150]];
  const one = ([x, y], i) => `<g transform="translate(${x} ${y})"><g class="falls falls-${i % 4}">${shape}</g></g>`;
  return `<g class="falling">${places.map(one).join("")}</g>`;
}

function escape(text) {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.codePointAt(0)};`);
}
