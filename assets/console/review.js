// The review queue by keyboard.
const go = (id) => document.getElementById(id)?.click();
const focus = (id) => document.getElementById(id)?.focus();

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  const writes = target.closest("input:not([type=checkbox], [type=radio]), textarea, select");
  if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
    (target.closest("form[data-write]") ?? document.getElementById("evaluate"))?.requestSubmit();
    return event.preventDefault();
  }
  if (key === "Escape" && writes) return target.blur();
  if (writes || event.altKey || event.ctrlKey || event.metaKey) return;
  const deeds = {
    j: () => go("next"),
    k: () => go("previous"),
    n: () => focus("notes"),
    t: () => focus("tags-field"),
    p: () => go("verdict-pass"),
    f: () => go("verdict-fail"),
  };
  if (!Object.hasOwn(deeds, key)) return;
  deeds[key]();
  event.preventDefault();
});
document.querySelector(".queue [aria-current]")?.scrollIntoView({ block: "nearest" });
