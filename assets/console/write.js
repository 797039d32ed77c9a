// Sends the forms by which people write about a call without leaving the page: the audio plays on.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-write]")) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/problem+json" },
      body: new URLSearchParams(new FormData(form)),
    });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) return complain(form, await answer.json());
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    complain(form, null);
    if (form.id === "evaluate") form.reset();
    voxray.say("Saved");
    form.dispatchEvent(new CustomEvent("saved", { bubbles: true }));
    if (!document.getElementById("audio")) location.reload();
  } catch {
    complain(form, { detail: "The server could not be reached: nothing was saved." });
  } finally {
    button.disabled = false;
  }
});

/** What was written is shown as the server tells it. */
function take(page) {
  for (const id of ["evaluations", "tags"]) {
    const [old, now] = [document.getElementById(id), page.getElementById(id)];
    if (old && now) old.replaceWith(now);
  }
}

function complain(form, problem) {
  let note = form.querySelector(".note");
  if (!problem) return note?.remove();
  note ??= form.insertBefore(document.createElement("p"), form.firstChild);
  note.className = "note bad";
  note.setAttribute("role", "alert");
  const faults = (problem.errors ?? []).map((fault) => `${fault.name}: ${fault.message}`);
  note.textContent = faults.length ? faults.join("; ") : problem.detail;
}
