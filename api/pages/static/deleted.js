// Nothing of the card stays on this device.

const page = document.getElementById("deleted").dataset.card;
if ("caches" in window) (await caches.open("card-pages")).delete(page);
