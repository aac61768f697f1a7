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
