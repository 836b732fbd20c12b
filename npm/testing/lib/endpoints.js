// Endpoints: the normal form of methods and paths, manifests, selectors, and what may be scheduled.
import { byCodePoint, isStorable, length, strip, WITH_METHOD } from "./text.js";
const METHOD = /^[A-Za-z]{1,16}$/;
const CALLABLE = ["GET", "POST"];
const LONGEST_PATH_BYTES = 2_000;
const normalMethod = (method) => strip(method).toUpperCase();
const normalPath = (path) => `/${strip(path)}`.replace(/\/+/g, "/");
/** The endpoints of a manifest's list by path, then method: malformed ones are skipped. */
export function readEndpoints(listed) {
    const handlers = new Map();
    const flags = new Map();
    for (const entry of Array.isArray(listed) ? listed : []) {
        if (typeof entry !== "object" || entry === null || Array.isArray(entry))
            continue;
        const { method, path, handler, schedulable } = entry;
        if (typeof method !== "string" || !METHOD.test(strip(method)))
            continue;
        if (typeof path !== "string" || strip(path) === "" || !isStorable(path))
            continue;
        if (new TextEncoder().encode(path).length > LONGEST_PATH_BYTES)
            continue;
        const key = `${normalMethod(method)} ${normalPath(path)}`;
        flags.set(key, schedulable !== false);
        if (typeof handler !== "string" || strip(handler) === "" || !isStorable(handler))
            continue;
        handlers.set(key, { method: normalMethod(method), path: normalPath(path), handler });
    }
    const endpoints = [...handlers].map(([key, endpoint]) => ({
        ...endpoint,
        schedulable: CALLABLE.includes(endpoint.method) && !/[:{}]/.test(endpoint.path) && flags.get(key) === true,
    }));
    return endpoints.sort((a, b) => byCodePoint(a.path, b.path) || byCodePoint(a.method, b.method));
}
/** `/path` or `METHOD /path`; undefined for a text that cannot select an endpoint. */
export function parseSelector(text, maxLength) {
    if (text === "" || length(text) > maxLength || strip(text) === "" || !isStorable(text))
        return undefined;
    const match = WITH_METHOD.exec(strip(text));
    if (match !== null && (match[2].startsWith("/") || CALLABLE.includes(match[1].toUpperCase()))) {
        return { path: normalPath(match[2]), method: normalMethod(match[1]) };
    }
    return { path: normalPath(text) };
}
/** The endpoint that a selector names, undefined where it may not be scheduled. */
export function chooseEndpoint(selector, endpoints, hasPayload) {
    const declared = endpoints.filter(({ path }) => path === selector.path);
    const by = (method) => declared.find((endpoint) => endpoint.method === method);
    const [preferred, other] = hasPayload ? ["POST", "GET"] : ["GET", "POST"];
    const chosen = selector.method === undefined ? (by(preferred) ?? by(other)) : by(selector.method);
    return chosen?.schedulable ? chosen : undefined;
}
