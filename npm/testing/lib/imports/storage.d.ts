import type { StorageEntry } from "../world.js";
export declare const get: (namespace: string, key: string) => StorageEntry;
export declare const put: (entry: StorageEntry) => StorageEntry;
declare const remove: (namespace: string, key: string) => void;
export { remove as delete };
export declare const listEntries: (namespace: string, cursor?: string) => StorageEntry[];
