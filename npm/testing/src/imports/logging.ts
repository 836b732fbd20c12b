import { current } from "../current.js";

export const logInfo = (message: string): void => current().log("info", message);
export const logWarn = (message: string): void => current().log("warn", message);
export const logError = (message: string): void => current().log("error", message);
