// The Runner's side of the bus, written from docs/runner-integration.md and nothing else:
// it verifies execute requests and answers what it was called with.
import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connected } from "./scheduler.js";

const LEEWAY_S = 10;
const { NATS_URL, NATS_USER, NATS_PASSWORD, KEY_FILE } = process.env;
const keys = new Map(JSON.parse(await readFile(KEY_FILE)).keys.map((key) => [key.kid, key]));

const json = (segment) => JSON.parse(Buffer.from(segment, "base64url").toString());

function signedBy(key, message, signature) {
  if (key.alg !== "HS256") {
    return verify(null, message, createPublicKey({ key, format: "jwk" }), signature);
  }
  const expected = createHmac("sha256", Buffer.from(key.k, "base64url")).update(message).digest();
  return expected.length === signature.length && timingSafeEqual(expected, signature);
}

/** The claims of an execute request, or undefined for one that proves nothing. */
function verified(token, body) {
  const [head, claimed, signature, ...rest] = (token ?? "").split(".");
  if (!signature || rest.length || token.length > 4096) return undefined;
  const header = json(head);
  const key = keys.get(header.kid);
  if (!key || header.alg !== key.alg || header.typ !== "ext-context+jwt" || "crit" in header) {
    return undefined;
  }
  if (!signedBy(key, Buffer.from(`${head}.${claimed}`), Buffer.from(signature, "base64url"))) {
    return undefined;
  }
  const claims = json(claimed);
  const now = Date.now() / 1000;
  const sound = claims.iss === key.ext_iss
    && claims.aud === "ext.runner" && key.ext_aud.includes("ext.runner")
    && claims.op === "execute"
    && claims.body_sha256 === createHash("sha256").update(body).digest("base64url")
    && Number.isInteger(claims.iat) && Number.isInteger(claims.exp)
    && claims.exp > claims.iat && claims.exp - claims.iat <= 120
    && claims.iat <= now + LEEWAY_S && claims.exp + LEEWAY_S > now;
  return sound ? claims : undefined;
}

function answer(message) {
  let claims;
  try {
    claims = verified(message.headers?.get("Ext-Context"), message.data);
  } catch {
    claims = undefined;
  }
  if (!claims) return { status: 401, error: "Execute request is not authorized" };
  if (Number(message.headers.get("Ext-Deadline")) <= Date.now()) {
    return { status: 408, error: "Caller gave up" };
  }
  const { context, http } = JSON.parse(Buffer.from(message.data).toString());
  const called = {
    occurrence: message.headers.get("Ext-Idempotency-Key"),
    attempt: context.attempt,
    path: http.path,
    body: http.body_b64 ? json(http.body_b64) : null,
    fresh: context.request_id === claims.jti,
  };
  console.log(JSON.stringify(called));
  return { status: 200, headers: {}, body_b64: Buffer.from(JSON.stringify(called)).toString("base64") };
}

const connection = await connected(NATS_URL, NATS_USER, NATS_PASSWORD);
const requests = connection.subscribe("ext.runner.execute", { queue: "ext-runner" });
await connection.flush();
console.log("ready");
for await (const message of requests) message.respond(JSON.stringify(answer(message)));
