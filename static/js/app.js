// What every page needs: menus that close, toasts, dates in the reader's zone, confirmations, and errors of htmx.

function toast(text, seconds = 6) {
  const box = document.getElementById("toasts");
  const note = document.createElement("div");
  note.className = "toast";
  note.textContent = text;
  box.append(note);
  setTimeout(() => note.remove(), seconds * 1000);
}

// <time datetime="…UTC…"> is shown in the reader's own zone.
function localiseTimes(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const date = new Date(element.dateTime);
    if (!Number.isNaN(date.getTime())) {
      element.title = element.dateTime;
      element.textContent = format.format(date);
      element.dataset.local = "1";
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  localiseTimes(document);
  // On a phone the project's pages are a row that scrolls: the present one is brought into sight.
  const here = document.querySelector(".rail [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - 24;
});
document.addEventListener("htmx:load", (event) => localiseTimes(event.detail.elt.parentNode || document));

// A click elsewhere, or Escape, closes an open menu.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.removeAttribute("open");
  }
});

// A form that loses something says so in data-confirm; a form is sent once, however often it is clicked.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = (event.submitter && event.submitter.dataset.confirm) || form.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  if (form.method === "post" && !form.hasAttribute("hx-post") && !form.dataset.repeatable) {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    setTimeout(() => delete form.dataset.sent, 4000);
  }
});

// A request that failed is said where the eye is, with the server's own sentence when it has one.
document.addEventListener("htmx:responseError", (event) => {
  const words = document.body.dataset;
  const answer = event.detail.xhr.getResponseHeader("X-Error");
  toast(answer ? decodeURIComponent(answer) : words.failed);
});
document.addEventListener("htmx:sendError", () => {
  toast(document.body.dataset.offline);
});

// Read from the cookie at each send: signing in again in another tab changes it.
function csrfToken() {
  const cookie = document.cookie.split("; ").find((one) => one.startsWith("csrftoken="));
  return cookie ? decodeURIComponent(cookie.slice("csrftoken=".length)) : document.querySelector("[name=csrfmiddlewaretoken]").value;
}

window.wanxing = { toast, localiseTimes, csrfToken };
