// The pages work without this file. With it they stay up to date, ages count on, and ids can be copied.

const STALE_AFTER_MS = 15_000;
const RETRY_AFTER_MS = 10_000;

const asOf = document.getElementById("as-of");
const address = asOf?.dataset.live;
let stream;
let seenAt = Date.now();
let ended = false;

if (address && "EventSource" in window) {
  document.addEventListener("visibilitychange", follow);
  // A form or a link takes the page away: no stream is left behind it.
  window.addEventListener("pagehide", stop);
  follow();
}
prepare(document);
setInterval(refresh, 1_000);

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "copied";
  setTimeout(() => (button.textContent = "copy"), 1_500);
});

// One box for all boxes of its form; of no use without this file, so hidden until then.
document.addEventListener("change", (event) => {
  const all = event.target.closest?.("[data-check-all]");
  if (!all) return;
  for (const box of all.closest("form").querySelectorAll('input[name^="pick."]')) {
    box.checked = event.target.checked;
  }
});

function follow() {
  stop();
  if (document.hidden || ended) return;
  stream = new EventSource(address);
  stream.addEventListener("sections", (event) => {
    heard();
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
  });
  stream.addEventListener("tick", heard);
  stream.addEventListener("end", () => {
    ended = true;
    stop();
    refresh();
  });
  stream.addEventListener("error", () => {
    // Closed for good means that the server refused; it may not refuse later.
    if (stream?.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_AFTER_MS);
  });
}

function stop() {
  stream?.close();
  stream = undefined;
}

function heard() {
  seenAt = Date.now();
}

function replace(id, html) {
  const section = document.getElementById(id);
  if (!section || inUse(section)) return;
  const open = [...section.querySelectorAll("details")].map((one) => one.open);
  section.innerHTML = html;
  section.querySelectorAll("details").forEach((one, at) => (one.open = open[at] ?? one.open));
  prepare(section);
}

// What somebody fills in or is selecting is left alone.
function inUse(section) {
  if (section.querySelector("form")) return true;
  const focused = document.activeElement;
  if (focused && focused !== document.body && section.contains(focused)) return true;
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && section.contains(selection.anchorNode);
}

function prepare(root) {
  for (const label of root.querySelectorAll("[data-check-all][hidden]")) label.hidden = false;
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
}

function refresh() {
  for (const time of document.querySelectorAll("time:not([data-fixed])")) {
    const words = relative(new Date(time.dateTime));
    if (time.textContent !== words) time.textContent = words;
  }
  if (!address || !asOf) return;
  const age = Date.now() - seenAt;
  const stale = !ended && age > STALE_AFTER_MS;
  asOf.className = ended ? "ended" : stale ? "stale" : "live";
  const words = ended
    ? "Ended: this page will not change any more"
    : stale
      ? `Last update ${span(age)} ago, trying again`
      : "Live";
  if (asOf.textContent !== words) asOf.textContent = words;
}

// The same words as the server's (server/console/format.ts).
function relative(at) {
  const ms = Date.now() - at.getTime();
  if (Math.abs(ms) < 1_000) return "now";
  return ms > 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return joined(hours, "h", minutes % 60, "min");
  return joined(Math.floor(hours / 24), "d", hours % 24, "h");
}

function joined(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
