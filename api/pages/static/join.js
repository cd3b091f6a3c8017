// A form that is on its way cannot be sent again; and what is missing is found at once.

const form = document.getElementById("join");
form?.addEventListener("submit", event => {
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => { if (form) delete form.dataset.sent; });
form?.querySelector("[aria-invalid=true]")?.focus();
