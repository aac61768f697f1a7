// What a page does more with JavaScript; all of them work without it.
"use strict";

// Dates in the reader's time zone; the exact time is in the title.
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!isNaN(moment)) {
    time.textContent = moment.toLocaleDateString(undefined, {dateStyle: "medium"});
    time.title = moment.toLocaleString(undefined, {dateStyle: "full", timeStyle: "long"});
  }
}

// The code of an invite is behind the # of its link: it goes into the form, and out of the address and the history.
const code = document.getElementById("code");
if (code && location.hash.startsWith("#ppm_join_")) {
  code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
}

// A button that copies the text beside it.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button.copy")) {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  }
}

// Below a path of a proxy the server does not know the whole URL of the index: put it right in commands.
const {base, path} = document.documentElement.dataset;
const here = decodeURI(location.pathname);
const actual = location.origin + (here.endsWith(path) ? here.slice(0, -path.length) : "");
if (actual !== base) {
  for (const command of document.querySelectorAll("pre code")) {
    command.textContent = command.textContent.replaceAll(base, actual);
  }
}
