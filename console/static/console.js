// What makes the pages live; each of them reads well without.
"use strict";

// Times are written by the server: tell it the zone.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const known = document.cookie.split("; ").find((cookie) => cookie.startsWith("timezone="));
if (zone && known !== "timezone=" + encodeURIComponent(zone)) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie =
    "timezone=" + encodeURIComponent(zone) + "; Path=/; SameSite=Strict; Max-Age=31536000" + secure;
  // Once: a browser that keeps no cookies would reload for ever.
  if (document.body.dataset.live && !sessionStorage.getItem("zone")) {
    sessionStorage.setItem("zone", zone);
    location.reload();
  }
}

// The stream says that something changed; the page asks what, but not while it is hidden.
const stream = document.body.dataset.live;
if (stream && window.EventSource) {
  // What a person has opened stays open.
  window.Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
    !(name === "open" && node instanceof HTMLDetailsElement);
  // What a person has typed or chosen stays: nothing is exchanged until it is sent or taken back.
  const isFilledIn = (field) =>
    field.type === "checkbox"
      ? field.checked !== field.defaultChecked
      : field.value !== field.defaultValue;
  const isBusy = () =>
    [...document.querySelectorAll("#live input, #live textarea")].some(isFilledIn);
  let missed = false;
  const announce = () => {
    missed = document.hidden || isBusy();
    if (!missed) {
      window.htmx.trigger(document.body, "changed");
    }
  };
  let source = null;
  const open = () => {
    source = new EventSource(stream);
    source.addEventListener("changed", announce);
    // The browser tries again after a lost connection, but not after a refusal.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(open, 5000);
      }
    });
  };
  document.addEventListener("visibilitychange", () => missed && announce());
  window.addEventListener("pagehide", () => source && source.close());
  open();
}

// "/" searches, "g" and a letter goes to a page.
let goes = false;
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
    } else {
      location.href = "/schedules#search";
    }
  } else if (goes) {
    const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) {
      link.click();
    }
  }
  goes = event.key === "g";
});
if (location.hash === "#search") {
  document.querySelector("[data-search]")?.focus();
}
