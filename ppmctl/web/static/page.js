// What a page does more with JavaScript; all of them work without it.
"use strict";

// Dates in the reader's time zone; the exact time is in the title.
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!isNaN(moment)) {
    time.textContent = "exact" in time.dataset
      ? moment.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "medium"})
      : moment.toLocaleDateString(undefined, {dateStyle: "medium"});
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
const {base, root} = document.documentElement.dataset;
const actual = new URL(root, location).href.replace(/\/$/, "");
if (actual !== base) {
  for (const command of document.querySelectorAll("pre code")) {
    command.textContent = command.textContent.replaceAll(base, actual);
  }
}

// Uploads: each file in a request of its own, with its progress. XMLHttpRequest, because fetch tells no progress.
const upload = document.getElementById("upload");
if (upload) {
  const results = document.getElementById("results"), words = {identical: "identical already there"};
  document.getElementById("drop-note").hidden = false;

  const send = (file) => new Promise((done) => {
    const line = results.appendChild(document.createElement("li")), request = new XMLHttpRequest(), body = new FormData();
    const show = (result, reason) => {
      line.className = result;
      line.textContent = `${file.name}: ${words[result] || result}${reason ? ` – ${reason}` : ""}`;
    };
    show("waiting", "");
    body.append("form_token", upload.elements.form_token.value);
    body.append("files", file);
    request.open("POST", upload.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) show("sending", `${Math.floor(100 * event.loaded / event.total)} %`);
    };
    request.onload = () => {
      const answer = request.response || {}, one = (answer.files || [])[0];
      if (one) show(one.result, one.reason);
      else show("refused", answer.message || `the server answered ${request.status}; load the page again`);
      done();
    };
    request.onerror = () => { show("refused", "the connection broke; try again"); done(); };
    request.send(body);
  });
  const sendAll = async (files) => { for (const file of files) await send(file); };

  upload.addEventListener("submit", (event) => {
    event.preventDefault();
    sendAll([...upload.elements.files.files]).then(() => upload.reset());
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    upload.addEventListener(name, (event) => {
      event.preventDefault();
      upload.classList.toggle("over", name === "dragover");
      if (name === "drop") sendAll([...event.dataTransfer.files]);
    });
  }
}
