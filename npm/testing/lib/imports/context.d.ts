import type { ContextData } from "../world.js";
export declare const getContext: () => ContextData;
