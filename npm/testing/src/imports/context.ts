import { current } from "../current.js";
import type { ContextData } from "../world.js";

export const getContext = (): ContextData => current().getContext();
