import { current } from "../current.js";
export const get = (namespace, key) => current().storage().get(namespace, key);
export const put = (entry) => current().storage().put(entry);
const remove = (namespace, key) => current().storage().delete(namespace, key);
export { remove as delete };
export const listEntries = (namespace, cursor) => current().storage().listEntries(namespace, cursor);
