// What all pages share: copying, forms that send themselves, times in the reader's own zone.

/** Says something to who listens to the page. */
function say(text) {
  document.getElementById("said").textContent = text;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    say("Copied");
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } catch {
    say("The browser did not allow copying");
  }
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-send]");
  if (form && event.target.matches("select")) form.requestSubmit();
});
// Empty fields would only lengthen the address, which is there to be shared.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-send]")) return;
  for (const field of event.target.elements) if (field.value === "") field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[data-send] :disabled")) field.disabled = false;
});

/** Tells each time in the reader's zone on hovering; what is written stays UTC, as in logs. */
function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.title = at.toLocaleString(undefined, { timeZoneName: "short" });
  }
}
localTimes();
globalThis.voxray = { say, localTimes };
