import { current } from "../current.js";
import type { StorageEntry } from "../world.js";

export const get = (namespace: string, key: string): StorageEntry => current().storage().get(namespace, key);
export const put = (entry: StorageEntry): StorageEntry => current().storage().put(entry);
const remove = (namespace: string, key: string): void => current().storage().delete(namespace, key);
export { remove as delete };
export const listEntries = (namespace: string, cursor?: string): StorageEntry[] =>
  current().storage().listEntries(namespace, cursor);
