import { current } from "../current.js";
export const getContext = () => current().getContext();
