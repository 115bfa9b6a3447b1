// Sets the theme before the first paint; the choice is a preference of this browser, nothing more.
(() => {
  let choice = null;
  try {
    choice = localStorage.getItem("recon.theme");
  } catch {
    // storage may be off: follow the system
  }
  const dark =
    choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
