// JSON as the service reads it: integers and floats differ, members keep their order.
import { LARGEST_INTEGER, SMALLEST_INTEGER } from "./constants.js";
import { hasLoneSurrogate } from "./text.js";
const NUMBER = /(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const TEXT = /"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)"/y;
const SPACES = /[ \t\n\r]*/y;
const WORDS = [["null", null], ["true", true], ["false", false]];
/** Throws a SyntaxError for what is not JSON, or what the bus cannot carry. */
export function parse(text) {
    let at = 0;
    const fail = () => {
        throw new SyntaxError(`not JSON at ${at}`);
    };
    const match = (pattern) => {
        pattern.lastIndex = at;
        const found = pattern.exec(text);
        if (found !== null)
            at = pattern.lastIndex;
        return found;
    };
    const take = (character) => {
        match(SPACES);
        if (text[at] !== character)
            return false;
        at += 1;
        return true;
    };
    const readText = () => {
        const found = match(TEXT);
        if (found === null)
            return fail();
        const value = JSON.parse(found[0]);
        return hasLoneSurrogate(value) ? fail() : value;
    };
    const readNumber = () => {
        const found = match(NUMBER);
        if (found === null)
            return fail();
        if (found[2] !== undefined || found[3] !== undefined)
            return Number(found[0]);
        const value = BigInt(found[1]);
        return value < SMALLEST_INTEGER || value > LARGEST_INTEGER ? fail() : value;
    };
    const readMembers = () => {
        const members = new Map();
        if (take("}"))
            return members;
        do {
            match(SPACES);
            const name = readText();
            if (!take(":"))
                return fail();
            members.set(name, read());
        } while (take(","));
        return take("}") ? members : fail();
    };
    const readItems = () => {
        const items = [];
        if (take("]"))
            return items;
        do
            items.push(read());
        while (take(","));
        return take("]") ? items : fail();
    };
    const read = () => {
        match(SPACES);
        for (const [word, value] of WORDS) {
            if (text.startsWith(word, at)) {
                at += word.length;
                return value;
            }
        }
        if (take("{"))
            return readMembers();
        if (take("["))
            return readItems();
        return text[at] === '"' ? readText() : readNumber();
    };
    const value = read();
    match(SPACES);
    return at === text.length ? value : fail();
}
/** Compact JSON, non-ASCII unescaped, with floats as `float` writes them. */
export function write(value, float = guestFloat) {
    if (typeof value === "string")
        return writeText(value);
    if (typeof value === "number")
        return float(value);
    if (Array.isArray(value))
        return `[${value.map((item) => write(item, float)).join(",")}]`;
    if (value instanceof Map) {
        const members = [...value].map(([name, member]) => `${writeText(name)}:${write(member, float)}`);
        return `{${members.join(",")}}`;
    }
    return String(value);
}
// The standard one would escape DEL and nothing else differently, and escapes no more than this.
const writeText = (text) => JSON.stringify(text);
/** Shortest digits and decimal exponent: `d.ddd` times ten to the exponent. */
function digitsOf(value) {
    const [mantissa, exponent] = Math.abs(value).toExponential().split("e");
    return [Object.is(value, -0) || value < 0 ? "-" : "", mantissa.replace(".", ""), Number(exponent)];
}
function positional(sign, digits, exponent) {
    if (exponent < 0)
        return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
    const padded = digits.padEnd(exponent + 1, "0");
    return `${sign}${padded.slice(0, exponent + 1)}.${padded.slice(exponent + 1) || "0"}`;
}
/** As an extension reads a payload back. */
export function guestFloat(value) {
    const [sign, digits, exponent] = digitsOf(value);
    if (value === 0 || (exponent >= -4 && exponent < 16))
        return positional(sign, digits, exponent);
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
    const power = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? "-" : "+"}${power}`;
}
/** As it travels and is sent to an endpoint: what the largest payload is measured on. */
export function wireFloat(value) {
    const [sign, digits, exponent] = digitsOf(value);
    if (value === 0 || (exponent >= -5 && exponent < 16))
        return positional(sign, digits, exponent);
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
    return `${sign}${digits[0]}${fraction}e${exponent}`;
}
/** As it is stored: always written out. */
export function storedFloat(value) {
    return positional(...digitsOf(value));
}
