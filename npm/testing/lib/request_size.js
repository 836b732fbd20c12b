const utf8 = new TextEncoder();
/** The size of a value; members that are undefined are not sent. */
export function requestSize(value) {
    if (value === null || typeof value === "boolean")
        return 1;
    if (typeof value === "string")
        return textSize(value);
    if (typeof value === "number")
        return 9;
    if (typeof value === "bigint")
        return integerSize(value);
    if (Array.isArray(value))
        return value.reduce((sum, item) => sum + requestSize(item), headSize(value.length));
    const members = value instanceof Map ? [...value] : Object.entries(value);
    const sent = members.filter((member) => member[1] !== undefined);
    return sent.reduce((sum, [name, member]) => sum + textSize(name) + requestSize(member), headSize(sent.length));
}
const headSize = (count) => (count < 16 ? 1 : count < 65_536 ? 3 : 5);
function textSize(text) {
    const bytes = utf8.encode(text).length;
    return bytes + (bytes < 32 ? 1 : bytes < 256 ? 2 : bytes < 65_536 ? 3 : 5);
}
function integerSize(value) {
    if (value >= -32n && value < 128n)
        return 1;
    const limits = value < 0n
        ? [[-(2n ** 7n), 2], [-(2n ** 15n), 3], [-(2n ** 31n), 5]]
        : [[2n ** 8n - 1n, 2], [2n ** 16n - 1n, 3], [2n ** 32n - 1n, 5]];
    for (const [limit, size] of limits) {
        if (value < 0n ? value >= limit : value <= limit)
            return size;
    }
    return 9;
}
