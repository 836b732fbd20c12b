// The Runner's side of the bus, written from docs/runner-integration.md and docs/conformance.md and
// nothing else: it verifies execute requests and answers what it was called with.
import {
  createHash,
  createHmac,
  createPublicKey,
  randomUUID,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { connected } from "./scheduler.js";

const LEEWAY_S = 10;
const MAX_TOKEN_LENGTH = 4096;
const MAX_ANSWER_BYTES = 262_144;
const SEGMENT = /^[A-Za-z0-9_-]+$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const { NATS_URL, NATS_USER, NATS_PASSWORD, KEY_FILE } = process.env;
const keys = new Map(JSON.parse(await readFile(KEY_FILE)).keys.map((key) => [key.kid, key]));
const answers = new Map();

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function unauthorized() {
  throw new Refused(401, "Execute request is not authorized");
}

/** The bytes of a segment, refusing every other way to write them. */
function bytes(segment) {
  const decoded = Buffer.from(segment, "base64url");
  return SEGMENT.test(segment) && decoded.toString("base64url") === segment ? decoded : unauthorized();
}

/** An object of a token, refusing a member that appears twice, or is null. */
function object(segment) {
  const text = bytes(segment).toString();
  const names = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon);
  const value = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) unauthorized();
  if (Object.keys(value).length !== names.length || Object.values(value).includes(null)) unauthorized();
  return value;
}

function signedBy(key, message, signature) {
  if (key.alg !== "HS256") {
    return verify(null, message, createPublicKey({ key, format: "jwk" }), signature);
  }
  const expected = createHmac("sha256", Buffer.from(key.k, "base64url")).update(message).digest();
  return expected.length === signature.length && timingSafeEqual(expected, signature);
}

const isName = (key, alg) =>
  alg === key.alg || (key.alg !== "HS256" && ["EdDSA", "Ed25519"].includes(alg));
const isText = (value) => typeof value === "string" && value !== "";

/** The claims of an execute request. */
function verified(token, body) {
  if (!token || token.length > MAX_TOKEN_LENGTH) unauthorized();
  const [head, claimed, signature, ...rest] = token.split(".");
  if (!signature || rest.length) unauthorized();
  const header = object(head);
  const key = keys.get(header.kid);
  if (!key || !isName(key, header.alg) || header.typ !== "ext-context+jwt" || "crit" in header) {
    unauthorized();
  }
  if (!signedBy(key, Buffer.from(`${head}.${claimed}`), bytes(signature))) unauthorized();
  const claims = object(claimed);
  const now = Date.now() / 1000;
  const sound = claims.iss === key.ext_iss
    && claims.aud === "ext.runner" && key.ext_aud.includes("ext.runner")
    && claims.op === "execute" && isText(claims.jti) && UUID.test(claims.jti)
    && claims.body_sha256 === createHash("sha256").update(body).digest("base64url")
    && (claims.providers === undefined || Array.isArray(claims.providers))
    && Number.isInteger(claims.iat) && Number.isInteger(claims.exp)
    && claims.exp > claims.iat && claims.exp - claims.iat <= 120
    && Math.max(claims.iat, claims.nbf ?? 0) <= now + LEEWAY_S;
  if (!sound) unauthorized();
  if (claims.exp + LEEWAY_S <= now) throw new Refused(408, "the context has expired");
  return claims;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The document, with what a call needs in it. */
function read(body) {
  let document;
  try {
    document = JSON.parse(Buffer.from(body).toString());
  } catch {
    throw new Refused(400, "the document is not JSON");
  }
  const { context, http, limits, providers = [] } = document ?? {};
  const sound = isObject(context) && isObject(http) && isObject(limits)
    && isText(http.method) && isText(http.path) && Array.isArray(providers)
    && Number.isInteger(limits.timeout_ms) && limits.timeout_ms > 0;
  if (!sound) throw new Refused(400, "the document is malformed");
  return document;
}

/** The extension of examples/conformance. */
async function extension(http, signal) {
  const body = http.body_b64 ? JSON.parse(Buffer.from(http.body_b64, "base64").toString()) : null;
  await pause(body?.delayMs ?? 0, undefined, { signal });
  const filling = "x".repeat(body?.bytes ?? 0);
  const answer = { nonce: randomUUID(), headers: http.headers, body, filling };
  return { status: body?.status ?? 200, body: answer };
}

async function call({ http, limits }) {
  try {
    const { status, body } = await extension(http, AbortSignal.timeout(limits.timeout_ms));
    const encoded = Buffer.from(JSON.stringify(body)).toString("base64");
    const answer = { status, headers: {}, body_b64: encoded };
    const isLarge = JSON.stringify(answer).length > MAX_ANSWER_BYTES;
    return isLarge ? { status: 502, headers: {}, error: "the answer is too large" } : answer;
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    return { status: 504, headers: {}, error: "the extension was too slow" };
  }
}

/** The answer, remembered by occurrence and attempt: the promise, so that two at once are one. */
async function answer(message) {
  const claims = verified(message.headers?.get("Ext-Context"), message.data);
  if (Number(message.headers.get("Ext-Deadline")) <= Date.now()) {
    throw new Refused(408, "the caller gave up");
  }
  const document = read(message.data);
  const { context, http } = document;
  const occurrence = message.headers.get("Ext-Idempotency-Key");
  const attempt = `${occurrence || claims.jti}:${context.attempt}`;
  if (!answers.has(attempt)) {
    answers.set(attempt, call(document));
    const { path, body_b64: body } = http;
    const shown = { occurrence, attempt: context.attempt, path, body, fresh: context.request_id === claims.jti };
    console.log(JSON.stringify(shown));
  }
  return answers.get(attempt);
}

async function respond(message) {
  let response;
  try {
    response = await answer(message);
  } catch (error) {
    const status = error instanceof Refused ? error.status : error instanceof SyntaxError ? 401 : 500;
    response = { status, headers: {}, error: error.message };
  }
  message.respond(JSON.stringify(response));
}

const connection = await connected(NATS_URL, NATS_USER, NATS_PASSWORD);
const requests = connection.subscribe("ext.runner.execute", { queue: "ext-runner" });
await connection.flush();
console.log("ready");
for await (const message of requests) void respond(message);
