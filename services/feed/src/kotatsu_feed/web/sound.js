// Playing speech: from its first bytes where the browser can, else when it is whole.

const MP3 = "audio/mpeg";
const canStream = () => globalThis.MediaSource?.isTypeSupported(MP3) ?? false;

/** Play the body of a streaming answer; resolves when all of it has arrived. */
export async function playStream(audio, response) {
  if (!canStream() || !response.body) {
    play(audio, URL.createObjectURL(await response.blob()));
    return;
  }
  const source = new MediaSource();
  play(audio, URL.createObjectURL(source));
  await event(source, "sourceopen");
  const buffer = source.addSourceBuffer(MP3);
  const reader = response.body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done || source.readyState !== "open") break;
    buffer.appendBuffer(value);
    await event(buffer, "updateend");
  }
  if (source.readyState === "open") source.endOfStream();
}

/** Play base64 of an MP3. */
export function playBase64(audio, text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  play(audio, URL.createObjectURL(new Blob([bytes], { type: MP3 })));
}

function play(audio, url) {
  const before = audio.src;
  audio.src = url;
  if (before) URL.revokeObjectURL(before);
  // A browser may want another click before it makes a sound: the controls are there for that.
  audio.play().catch(() => {});
}

function event(target, name) {
  return new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
}
