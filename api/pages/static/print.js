// The button that prints the page. Without scripts the browser's own menu does.
document.getElementById("print").addEventListener("click", () => window.print());
