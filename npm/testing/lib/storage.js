// A key-value store in memory, for the interface `storage` of one install.
import { MAX_AREA_BYTES, MAX_AREA_ENTRIES, MAX_KEY_CHARACTERS, MAX_VALUE_BYTES, PAGE_SIZE } from "./constants.js";
import { byCodePoint, length } from "./text.js";
/** What an extension catches: `payload` is the code. */
export const hostError = (code) => Object.assign(new Error(code), { payload: code });
const refuse = (code) => {
    throw hostError(code);
};
export class MemoryStorage {
    #entries = new Map();
    #revision = 0n;
    get(namespace, key) {
        return this.#entries.get(place(namespace, key)) ?? refuse("missing");
    }
    /** With a `revision` it must be the stored one (0: nothing may be there). */
    put(entry) {
        const at = place(entry.namespace, entry.key);
        const stored = this.#entries.get(at)?.revision ?? 0n;
        if (entry.revision !== undefined && entry.revision !== stored)
            return refuse("conflict");
        if (!this.#fits(at, entry))
            return refuse("internal");
        this.#revision += 1n;
        const written = { ...entry, value: entry.value.slice(), revision: this.#revision };
        this.#entries.set(at, written);
        return written;
    }
    delete(namespace, key) {
        if (!this.#entries.delete(place(namespace, key)))
            refuse("missing");
    }
    /** Up to a page of entries in the order of their keys, after the key `cursor`. */
    listEntries(namespace, cursor) {
        return [...this.#entries.values()]
            .filter((entry) => entry.namespace === namespace)
            .filter((entry) => cursor === undefined || byCodePoint(entry.key, cursor) > 0)
            .sort((a, b) => byCodePoint(a.key, b.key))
            .slice(0, PAGE_SIZE);
    }
    #fits(at, entry) {
        const others = [...this.#entries].filter(([key]) => key !== at).map(([, other]) => other);
        const size = others.reduce((sum, other) => sum + other.value.length, entry.value.length);
        return length(entry.namespace) <= MAX_KEY_CHARACTERS
            && length(entry.key) <= MAX_KEY_CHARACTERS
            && entry.value.length <= MAX_VALUE_BYTES
            && others.length < MAX_AREA_ENTRIES
            && size <= MAX_AREA_BYTES;
    }
}
const place = (namespace, key) => JSON.stringify([namespace, key]);
