// Keeps the list as it is now: the feed says that something happened, the server how the list then looks.
const TYPES = "call.started,call.updated,call.ended,call.failed,call.deleted";
const PAUSE_MS = 1000;
const pulse = document.getElementById("pulse");
let waiting = false;
let again = false;
let missed = false;

function show(on, text) {
  pulse.hidden = false;
  pulse.classList.toggle("on", on);
  pulse.textContent = text;
}

/** Takes over what the page would show now, row by row, so that focus and selection stay. */
function take(page) {
  globalThis.voxray.localTimes(page);
  const [list, now] = [document.getElementById("list"), page.getElementById("list")];
  const chips = page.getElementById("chips");
  if (!now || !chips) return;
  const old = document.getElementById("chips");
  if (old.innerHTML !== chips.innerHTML && !old.contains(document.activeElement)) old.innerHTML = chips.innerHTML;
  const [rows, fresh] = [list.querySelector("#rows"), now.querySelector("#rows")];
  if (!rows || !fresh) {
    if (list.innerHTML !== now.innerHTML) list.innerHTML = now.innerHTML;
    return;
  }
  let at = rows.firstElementChild;
  const kept = new Set([...fresh.children].map((row) => row.id));
  for (const row of [...rows.children]) if (!kept.has(row.id)) row.remove();
  at = rows.firstElementChild;
  for (const row of [...fresh.children]) {
    const there = document.getElementById(row.id);
    if (!there) {
      row.classList.add("new");
      rows.insertBefore(document.adoptNode(row), at);
      continue;
    }
    if (there !== at) rows.insertBefore(there, at);
    at = there.nextElementSibling;
    [...row.children].forEach((cell, n) => {
      if (there.children[n].innerHTML !== cell.innerHTML) there.children[n].innerHTML = cell.innerHTML;
    });
  }
}

async function refresh() {
  if (waiting || document.hidden) {
    again = waiting;
    missed = document.hidden;
    return;
  }
  waiting = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) location.reload();
    else if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch { /* The feed tells when the server is back. */ }
  setTimeout(() => {
    waiting = false;
    if (again) { again = false; refresh(); }
  }, PAUSE_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && missed) { missed = false; refresh(); }
});

if (document.getElementById("list").hasAttribute("data-first")) {
  const feed = new EventSource(`/api/v1/sse/calls/stream?types=${TYPES}`);
  feed.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "connected") show(true, "Live");
    if (message.type === "connected" || message.type.startsWith("call.") || message.data?.code === "gap") refresh();
  };
  feed.onerror = () => {
    const is_over = feed.readyState === EventSource.CLOSED;
    show(false, is_over ? "Not live" : "Reconnecting");
    // If the session is over, the page leads to where another is had.
    if (is_over) refresh();
  };
  addEventListener("pagehide", () => feed.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}
