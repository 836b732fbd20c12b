// Texts as the service sees them: what counts as white space, length, and what can be stored.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");
/** A method, white space, and the rest. */
export const WITH_METHOD = new RegExp(`^([A-Za-z]{1,16})[${SPACE}]+([^${SPACE}][^]*)$`);
const LONE_SURROGATE = /[\ud800-\udfff]/u;
/** A text without white space at its ends. */
export const strip = (text) => text.replace(AROUND, "");
/** The number of code points. */
export function length(text) {
    let count = 0;
    for (const _ of text)
        count += 1;
    return count;
}
export const hasLoneSurrogate = (text) => LONE_SURROGATE.test(text);
/** Whether PostgreSQL and every encoding can hold it. */
export const isStorable = (text) => !text.includes("\0") && !hasLoneSurrogate(text);
export const byCodePoint = (one, other) => {
    const [a, b] = [Array.from(one), Array.from(other)];
    for (let i = 0; i < Math.min(a.length, b.length); i += 1) {
        const difference = a[i].codePointAt(0) - b[i].codePointAt(0);
        if (difference !== 0)
            return difference;
    }
    return a.length - b.length;
};
