import { current } from "../current.js";
export const logInfo = (message) => current().log("info", message);
export const logWarn = (message) => current().log("warn", message);
export const logError = (message) => current().log("error", message);
