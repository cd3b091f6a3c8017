// What this device remembers between two visits: what waits to be sent, and a few facts. IndexedDB, shared by all tabs.

let opened;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("till", 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("actions", { keyPath: "order", autoIncrement: true });
      asked.result.createObjectStore("facts");
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

async function within(store, mode, work) {
  const transaction = (await database()).transaction(store, mode);
  const asked = work(transaction.objectStore(store));
  return new Promise((resolve, reject) => {
    // Done when it is written, not when it was asked for.
    transaction.oncomplete = () => resolve(asked?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export const actions = () => within("actions", "readonly", store => store.getAll());
export const keep = action => within("actions", "readwrite", store => store.put(action));
export const drop = order => within("actions", "readwrite", store => store.delete(order));
export const fact = name => within("facts", "readonly", store => store.get(name));
export const setFact = (name, value) => within("facts", "readwrite", store => store.put(value, name));
