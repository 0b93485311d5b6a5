// Players and drawings ask the page for its theme as they ask Jupyter; the theme switch changes it here.
document.addEventListener("DOMContentLoaded", () => {
  const html = document.documentElement;
  const dress = () => { document.body.dataset.jpThemeLight = html.dataset.theme !== "dark"; };
  new MutationObserver(dress).observe(html, {attributes: true, attributeFilter: ["data-theme"]});
  dress();
  // Until it is moved, the slider of a player that an older rendering left does not say where it stands.
  for (const slider of document.querySelectorAll("[role=slider]:not([aria-valuenow])")) slider.ariaValueNow = "0";
});
