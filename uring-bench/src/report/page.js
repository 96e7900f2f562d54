// Shows the value nearest to the pointer. Without this script the browser shows each <title> by itself.
const tip = document.getElementById("tip");
let near = null;
const forget = () => { if (near) near.classList.remove("near"); near = null; tip.hidden = true; };
for (const svg of document.querySelectorAll("figure svg[role]")) {
  const spots = [...svg.querySelectorAll(".hover, .cell")];
  for (const spot of spots) { spot.dataset.tip = spot.querySelector("title").textContent; spot.querySelector("title").remove(); }
  svg.addEventListener("pointermove", (event) => {
    let best = null, least = 40;
    for (const spot of spots) {
      const box = spot.getBoundingClientRect();
      const away = (from, at, to) => Math.max(from - at, 0, at - to);
      const distance = Math.hypot(away(box.left, event.clientX, box.right), away(box.top, event.clientY, box.bottom));
      const centre = Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY) / 1000;
      if (distance + centre < least) { least = distance + centre; best = spot; }
    }
    if (best !== near) forget();
    if (!best) return;
    near = best;
    best.classList.add("near");
    tip.textContent = best.dataset.tip;
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = Math.max(left, 8) + "px";
    tip.style.top = (event.clientY > tip.offsetHeight + 24 ? event.clientY - tip.offsetHeight - 12 : event.clientY + 20) + "px";
  });
  svg.addEventListener("pointerleave", forget);
}
