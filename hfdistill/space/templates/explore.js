// Keeps the view in the address, so that a link opens it again; `server` and `element` are Gradio's.
const PARTS = ["task", "filter", "category", "length", "search", "list_page", "question"];
const part = (name) => element.querySelector(`[data-part="${name}"]`);
const fromAddress = () => {
  const given = new URLSearchParams(window.location.search);
  return Object.fromEntries(PARTS.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
};
let view = fromAddress();
let turn = 0;
let typing;

function remember(push) {
  const given = new URLSearchParams(window.location.search);
  for (const name of PARTS) {
    const value = String(view[name] ?? "");
    if (!value || value === "0" || (name === "filter" && value === "all")) given.delete(name);
    else given.set(name, value);
  }
  const query = given.toString();
  const address = window.location.pathname + (query ? "?" + query : "") + window.location.hash;
  window.history[push ? "pushState" : "replaceState"](null, "", address);
  // On the Hub the page is a frame, and the address that people copy is its parent's.
  if (window.parent !== window) window.parent.postMessage({ queryString: query }, "https://huggingface.co");
}

async function fill(names) {
  const mine = ++turn;
  try {
    const texts = await Promise.all(names.map((name) => (name === "question" && !view.question ? "" : server[name](view))));
    if (mine !== turn) return;
    names.forEach((name, index) => (part(name).innerHTML = texts[index]));
  } catch (error) {
    if (mine === turn) part(names[0]).innerHTML = '<div class="hfd-notice" role="alert">This could not be read now. Try again in a minute.</div>';
  }
}

async function open(question, push = true) {
  view.question = question;
  remember(push);
  await fill(["question"]);
  element.querySelectorAll("[aria-current]").forEach((button) => button.removeAttribute("aria-current"));
  const row = element.querySelector(`.hfd-list [data-question="${CSS.escape(question)}"]`);
  if (row && question) row.setAttribute("aria-current", "true");
  const shown = element.querySelector(".hfd-open");
  if (shown) {
    shown.focus({ preventScroll: true });
    shown.scrollIntoView({ block: "start" });
  } else if (row) row.focus();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  if (button.dataset.question) open(button.dataset.question);
  else if ("close" in button.dataset) {
    const was = view.question;
    open("").then(() => element.querySelector(`.hfd-list [data-question="${CSS.escape(was)}"]`)?.focus());
  } else if (button.dataset.page) {
    view.list_page = Number(button.dataset.page);
    remember(true);
    fill(["table"]);
  }
});

element.addEventListener("input", (event) => {
  const name = event.target.dataset?.part;
  if (!PARTS.includes(name)) return;
  view[name] = event.target.value;
  view.list_page = 0;
  if (name === "task") Object.assign(view, { category: "", question: "" });
  clearTimeout(typing);
  typing = setTimeout(() => {
    remember(false);
    if (name === "task") location.reload();
    else fill(["table"]);
  }, name === "search" ? 200 : 0);
});

element.addEventListener("toggle", (event) => {
  if (event.target.dataset?.part !== "pictures" || !event.target.open || part("drawn").innerHTML) return;
  server.pictures(view).then((text) => (part("drawn").innerHTML = text));
}, true);

window.addEventListener("popstate", () => {
  view = fromAddress();
  for (const name of ["filter", "category", "length", "search"]) if (part(name)) part(name).value = view[name] ?? (name === "filter" ? "all" : "");
  fill(["table", "question"]);
});
