// Hearing a call and reading along: waveform, speed, channels, the turn that is being said, finding words.
const audio = document.getElementById("audio");
const player = document.getElementById("player");
const list = document.getElementById("turns");
const offset = Number(player?.dataset.offset ?? 0) / 1000;
const turns = [...(list?.children ?? [])].map((line) => ({
  line,
  start: line.dataset.start === undefined ? null : Number(line.dataset.start) / 1000 - offset,
  end: line.dataset.end === undefined ? Infinity : Number(line.dataset.end) / 1000 - offset,
}));
const timed = turns.filter((turn) => turn.start !== null).sort((a, b) => a.start - b.start);

/** Plays from a place in the audio, in seconds. */
function seek(seconds) {
  if (!audio) return;
  audio.currentTime = Math.max(0, Math.min(seconds, audio.duration || seconds));
}

list?.addEventListener("click", (event) => {
  const line = event.target.closest("li");
  const turn = turns.find((turn) => turn.line === line);
  if (!turn || turn.start === null || !audio) return;
  if (!event.target.closest(".at") && String(getSelection())) return;
  seek(turn.start);
  audio.play();
});

// The turn that is being said.
const follow = document.getElementById("follow");
let shown = null;
function mark() {
  const now = audio.currentTime;
  let [low, high] = [0, timed.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timed[middle].start <= now + 0.05) low = middle + 1;
    else high = middle;
  }
  const turn = timed[low - 1] ?? null;
  if (turn === shown) return;
  shown?.line.classList.remove("now");
  shown?.line.removeAttribute("aria-current");
  shown = turn;
  shown?.line.classList.add("now");
  shown?.line.setAttribute("aria-current", "true");
  if (follow?.checked && !audio.paused) {
    if (shown) accompany(shown.line);
  }
}

/** Keeps a line in view: gently from one to the next, at once where it is far. */
function accompany(line) {
  const box = line.getBoundingClientRect();
  const is_far = box.bottom < -innerHeight || box.top > 2 * innerHeight;
  if (is_far) return show(line);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  line.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

// The waveform: a lane a channel, what was heard in the accent's colour.
const canvas = document.getElementById("wave");
let lanes = null;
function draw() {
  if (!lanes?.[0]?.length || !canvas?.clientWidth) return;
  const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const to = canvas.getContext("2d");
  to.scale(scale, scale);
  // The canvas wears the colours that are painted on it.
  const style = getComputedStyle(canvas);
  const [heard, rest] = [style.color, style.caretColor];
  const done = (audio.currentTime / (audio.duration || Infinity)) * width;
  const lane = height / lanes.length;
  lanes.forEach((peaks, n) => {
    const middle = lane * (n + 0.5);
    const step = Math.max(2, width / peaks.length);
    for (let x = 0; x < width; x += step) {
      const from = Math.floor((x / width) * peaks.length);
      const to_ = Math.max(from + 1, Math.floor(((x + step) / width) * peaks.length));
      const peak = Math.max(...peaks.slice(from, to_));
      const half = Math.max(0.5, Math.sqrt(peak) * (lane / 2 - 3));
      to.fillStyle = x <= done ? heard : rest;
      to.fillRect(x, middle - half, Math.max(1, step - 1), half * 2);
    }
  });
  to.fillStyle = heard;
  to.fillRect(Math.min(done, width - 1), 0, 1, height);
}

async function load() {
  try {
    const answer = await fetch(player.dataset.url, { headers: { accept: "application/json" } });
    if (!answer.ok) return;
    lanes = (await answer.json()).waveform;
    draw();
    new ResizeObserver(draw).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  } catch { /* Without a waveform the audio can still be heard. */ }
}

// Hearing one side alone. The graph is made when it is first asked for: browsers want a gesture before it.
let sides = null;
const channels = [...document.querySelectorAll("#channels button")];
channels.forEach((button, n) => button.addEventListener("click", () => {
  hear(n);
  for (const other of channels) other.setAttribute("aria-pressed", String(other === button));
}));

function hear(side) {
  if (!sides) {
    const context = new AudioContext();
    const splitter = context.createChannelSplitter(2);
    context.createMediaElementSource(audio).connect(splitter);
    sides = [0, 1].map((n) => {
      const gain = context.createGain();
      splitter.connect(gain, n);
      gain.connect(context.destination);
      return gain;
    });
    context.resume();
  }
  sides.forEach((gain, n) => { gain.gain.value = side === 0 || side === n + 1 ? 1 : 0; });
}

if (audio) {
  audio.addEventListener("timeupdate", () => { mark(); draw(); });
  audio.addEventListener("seeked", () => { mark(); draw(); });
  audio.addEventListener("loadedmetadata", draw);
  document.getElementById("speed").addEventListener("change", (event) => {
    audio.playbackRate = Number(event.target.value);
  });
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * (audio.duration || 0));
  };
  canvas?.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    point(event);
  });
  canvas?.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) point(event);
  });
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || target.closest("input:not([type=checkbox]), textarea, select, audio")) return;
    if (key === " " && !target.closest("button, a, summary, input")) audio.paused ? audio.play() : audio.pause();
    else if (key === "ArrowLeft") seek(audio.currentTime - 5);
    else if (key === "ArrowRight") seek(audio.currentTime + 5);
    else return;
    event.preventDefault();
  });
  if (canvas) load();
}

// Who comes from an issue hears it: a link names a turn, or a moment of the call in ms.
const place = location.hash.match(/^#(turn|at)-(\d+)$/);
if (place) {
  const named = place[1] === "turn" && turns.find((turn) => turn.line.id === `turn-${place[2]}`);
  const from = place[1] === "at" ? Number(place[2]) / 1000 - offset : named?.start;
  const has_time = Number.isFinite(from);
  const line = (named || (has_time && timed.findLast((turn) => turn.start <= from + 0.05)) || null)?.line;
  if (line) show(line);
  if (audio && has_time) {
    if (audio.readyState > 0) seek(from);
    else audio.addEventListener("loadedmetadata", () => seek(from), { once: true });
  }
}

// Finding words: painted, not written into the page, so that two thousand turns stay smooth.
const find = document.getElementById("find");
let hits = [];
let at = -1;
function search() {
  const wanted = find.value.trim().toLowerCase();
  hits = [];
  at = -1;
  if (wanted) {
    for (const { line } of turns) {
      const walk = document.createTreeWalker(line.querySelector(".text"), NodeFilter.SHOW_TEXT);
      for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        const text = node.data.toLowerCase();
        if (text.length !== node.data.length) continue;
        for (let from = text.indexOf(wanted); from >= 0; from = text.indexOf(wanted, from + wanted.length)) {
          const range = new Range();
          range.setStart(node, from);
          range.setEnd(node, from + wanted.length);
          hits.push(range);
        }
      }
    }
  }
  if (CSS.highlights) CSS.highlights.set("found", new Highlight(...hits));
  step(1);
}
/** Turns that were never seen have a guessed height: once those on the way are laid out, the place may be another. */
function show(line, tries = 3) {
  line.scrollIntoView({ block: "center" });
  if (tries > 0) requestAnimationFrame(() => show(line, tries - 1));
}
function step(by) {
  if (hits.length) {
    at = (at + by + hits.length) % hits.length;
    if (CSS.highlights) CSS.highlights.set("found-here", new Highlight(hits[at]));
    show(hits[at].startContainer.parentElement.closest("li"));
  } else if (CSS.highlights) CSS.highlights.delete("found-here");
  const text = find.value.trim() ? (hits.length ? `${at + 1} of ${hits.length}` : "Not found") : "";
  document.getElementById("found").textContent = text;
}
if (find) {
  find.addEventListener("input", search);
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    step(event.shiftKey ? -1 : 1);
  });
  document.getElementById("find-next").addEventListener("click", () => step(1));
}
