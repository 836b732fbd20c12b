// Endpoints: the normal form of methods and paths, manifests, selectors, and what may be scheduled.
import { byCodePoint, isStorable, length, strip, WITH_METHOD } from "./text.js";

const METHOD = /^[A-Za-z]{1,16}$/;
const CALLABLE: readonly string[] = ["GET", "POST"];
const LONGEST_PATH_BYTES = 2_000;

export interface Endpoint {
  readonly method: string;
  readonly path: string;
  readonly handler: string;
  readonly schedulable: boolean;
}

/** What a schedule names; `method` is undefined for a bare path. */
export interface Selector {
  readonly path: string;
  readonly method?: string;
}

const normalMethod = (method: string): string => strip(method).toUpperCase();
const normalPath = (path: string): string => `/${strip(path)}`.replace(/\/+/g, "/");

/** The endpoints of a manifest's list by path, then method: malformed ones are skipped. */
export function readEndpoints(listed: unknown): Endpoint[] {
  const handlers = new Map<string, { method: string; path: string; handler: string }>();
  const flags = new Map<string, boolean>();
  for (const entry of Array.isArray(listed) ? (listed as unknown[]) : []) {
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) continue;
    const { method, path, handler, schedulable } = entry as Record<string, unknown>;
    if (typeof method !== "string" || !METHOD.test(strip(method))) continue;
    if (typeof path !== "string" || strip(path) === "" || !isStorable(path)) continue;
    if (new TextEncoder().encode(path).length > LONGEST_PATH_BYTES) continue;
    const key = `${normalMethod(method)} ${normalPath(path)}`;
    flags.set(key, schedulable !== false);
    if (typeof handler !== "string" || strip(handler) === "" || !isStorable(handler)) continue;
    handlers.set(key, { method: normalMethod(method), path: normalPath(path), handler });
  }
  const endpoints = [...handlers].map(([key, endpoint]) => ({
    ...endpoint,
    schedulable: CALLABLE.includes(endpoint.method) && !/[:{}]/.test(endpoint.path) && flags.get(key) === true,
  }));
  return endpoints.sort((a, b) => byCodePoint(a.path, b.path) || byCodePoint(a.method, b.method));
}

/** `/path` or `METHOD /path`; undefined for a text that cannot select an endpoint. */
export function parseSelector(text: string, maxLength: number): Selector | undefined {
  if (text === "" || length(text) > maxLength || strip(text) === "" || !isStorable(text)) return undefined;
  const match = WITH_METHOD.exec(strip(text));
  if (match !== null && (match[2]!.startsWith("/") || CALLABLE.includes(match[1]!.toUpperCase()))) {
    return { path: normalPath(match[2]!), method: normalMethod(match[1]!) };
  }
  return { path: normalPath(text) };
}

/** The endpoint that a selector names, undefined where it may not be scheduled. */
export function chooseEndpoint(
  selector: Selector,
  endpoints: readonly Endpoint[],
  hasPayload: boolean,
): Endpoint | undefined {
  const declared = endpoints.filter(({ path }) => path === selector.path);
  const by = (method: string): Endpoint | undefined => declared.find((endpoint) => endpoint.method === method);
  const [preferred, other] = hasPayload ? ["POST", "GET"] : ["GET", "POST"];
  const chosen = selector.method === undefined ? (by(preferred!) ?? by(other!)) : by(selector.method);
  return chosen?.schedulable ? chosen : undefined;
}
