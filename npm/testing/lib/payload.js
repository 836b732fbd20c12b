// The rules of a payload.
import { NOT_A_CONTAINER, NOT_SERIALIZABLE, TOO_LARGE } from "./constants.js";
import { storedFloat, wireFloat, write } from "./json.js";
import { isStorable, length } from "./text.js";
const MAX_GROWTH = 4;
const isContainer = (value) => Array.isArray(value) || value instanceof Map;
const membersOf = (container) => [...container.values()];
/** The field error of a payload, undefined for a valid one. */
export function checkPayload(value, maxLength, maxDepth) {
    if (value === null)
        return undefined;
    if (!isContainer(value))
        return NOT_A_CONTAINER;
    let count = 0;
    let depth = 0;
    let plain = true;
    for (let level = [value]; level.length > 0; depth += 1) {
        if (depth >= maxDepth) {
            plain = false;
            break;
        }
        plain &&= level.every(hasPlainMembers);
        count += level.reduce((sum, container) => sum + membersOf(container).length, 0);
        if (count > Math.floor(maxLength / 2) + 1)
            return TOO_LARGE;
        level = level.flatMap(membersOf).filter(isContainer);
    }
    if (!plain)
        return NOT_SERIALIZABLE;
    if (length(write(value, wireFloat)) > maxLength)
        return TOO_LARGE;
    return length(write(value, storedFloat)) > MAX_GROWTH * maxLength ? TOO_LARGE : undefined;
}
function hasPlainMembers(container) {
    if (container instanceof Map && ![...container.keys()].every(isStorable))
        return false;
    return membersOf(container).every((member) => {
        if (typeof member === "string")
            return isStorable(member);
        return typeof member === "number" ? Number.isFinite(member) : true;
    });
}
