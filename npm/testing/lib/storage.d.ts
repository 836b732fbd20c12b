import type { StorageEntry } from "./world.js";
/** What an extension catches: `payload` is the code. */
export declare const hostError: (code: string) => Error;
export declare class MemoryStorage {
    #private;
    get(namespace: string, key: string): StorageEntry;
    /** With a `revision` it must be the stored one (0: nothing may be there). */
    put(entry: StorageEntry): StorageEntry;
    delete(namespace: string, key: string): void;
    /** Up to a page of entries in the order of their keys, after the key `cursor`. */
    listEntries(namespace: string, cursor?: string): StorageEntry[];
}
