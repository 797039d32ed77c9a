// Keeps each part of the dashboard as fresh as the analytics are meant to be asked for.
const query = new URLSearchParams(location.search);

async function refresh(part) {
  if (document.hidden) return;
  query.set("part", part);
  try {
    const answer = await fetch(`/console/dashboard?${query}`, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part);
    const old = document.getElementById(part);
    if (!fresh || !old || old.contains(document.activeElement)) return;
    // What was opened stays open.
    old.querySelectorAll("details").forEach((details, n) => {
      const same = fresh.querySelectorAll("details")[n];
      if (same) same.open = details.open;
    });
    if (old.innerHTML !== fresh.innerHTML) old.replaceWith(fresh);
  } catch { /* The next time may go better. */ }
}

for (const part of document.querySelectorAll("[data-every]")) {
  setInterval(() => refresh(part.id), Number(part.dataset.every) * 1000);
}
