"use strict";

// Fetches each object of the table and shows where the proxy took it from.
// A fresh query string keeps the browser's own cache out of it; the proxy ignores
// the query, so it still answers from one stored response.
let count = 0;

async function probe(row) {
  const link = row.querySelector("a");
  const cells = row.querySelectorAll("td");
  const started = performance.now();
  let response;
  let body;
  try {
    response = await fetch(`${link.href}?demo=${Date.now()}-${count++}`);
    body = await response.arrayBuffer();
  } catch (error) {
    cells[2].textContent = "failed";
    return "";
  }
  const elapsed = performance.now() - started;
  const cache = response.headers.get("X-Cache") ?? "";
  cells[2].textContent = response.status;
  cells[3].textContent = cache;
  cells[3].dataset.cache = cache;
  cells[4].textContent = response.headers.get("Age") ?? "";
  cells[5].textContent = body.byteLength.toLocaleString();
  cells[6].textContent = elapsed.toFixed(1);
  return cache;
}

const rows = [...document.querySelectorAll("tbody tr")];
for (const row of rows) {
  for (let column = 2; column < 7; column++) {
    const cell = row.insertCell();
    if (column !== 3) cell.className = "number";
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Fetch";
  button.addEventListener("click", () => probe(row));
  row.insertCell().append(button);
}

document.querySelector("#all").addEventListener("click", async () => {
  const results = [];
  for (const row of rows) results.push(await probe(row));
  const hits = results.filter((cache) => cache === "HIT").length;
  document.querySelector("#summary").textContent =
    `${hits} of ${results.length} answered from memory`;
});
